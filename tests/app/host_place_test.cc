#include "app/host_place.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "gtest/gtest.h"

namespace inferd::app {
namespace {

class HostPlaceTest : public ::testing::Test {
 protected:
  HostPlaceTest() {
    path_ = ::testing::TempDir() + "host_place_key" + std::to_string(getpid());
    std::ofstream(path_) << "a secret of the deployment\n";
    chmod(path_.c_str(), 0600);
    config_.parallel.tp = "2";
    config_.parallel.key_file = path_;
  }
  ~HostPlaceTest() override { std::remove(path_.c_str()); }

  std::string path_;
  ServerConfig config_;
};

TEST_F(HostPlaceTest, OneHostByDefault) {
  config_.parallel.key_file.clear();
  // What a launcher of other things left behind does not matter without a key.
  const auto place = FindHostPlace(config_, {"MASTER_ADDR=a", "WORLD_SIZE=2", "RANK=1"});
  ASSERT_TRUE(place.ok());
  EXPECT_EQ(place->remote.num_hosts, 1);
  EXPECT_TRUE(place->leads());
}

TEST_F(HostPlaceTest, FromTheList) {
  config_.parallel.hosts = {"10.0.0.1", "10.0.0.2"};
  config_.parallel.host_index = 1;
  const auto place = FindHostPlace(config_, {});
  ASSERT_TRUE(place.ok()) << place.status().ToString();
  EXPECT_EQ(place->remote.leader, "10.0.0.1");
  EXPECT_EQ(place->own_host, "10.0.0.2");
  EXPECT_EQ(place->remote.key, "a secret of the deployment");
  config_.parallel.host_index = -1;
  EXPECT_FALSE(FindHostPlace(config_, {}).ok());
  EXPECT_EQ(FindHostPlace(config_, {"RANK=1"})->index, 1);
  EXPECT_EQ(FindHostPlace(config_, {"LWS_WORKER_INDEX=0"})->index, 0);
  EXPECT_FALSE(FindHostPlace(config_, {"RANK=2"}).ok());
  EXPECT_FALSE(FindHostPlace(config_, {"RANK=x"}).ok());
}

TEST_F(HostPlaceTest, FromTheEnvironment) {
  const auto lws = FindHostPlace(
      config_, {"LWS_LEADER_ADDRESS=127.0.0.1", "LWS_GROUP_SIZE=2", "LWS_WORKER_INDEX=1"});
  ASSERT_TRUE(lws.ok()) << lws.status().ToString();
  EXPECT_EQ(lws->index, 1);
  EXPECT_EQ(lws->own_host, "127.0.0.1");
  const auto launcher = FindHostPlace(
      config_, {"MASTER_ADDR=127.0.0.1", "WORLD_SIZE=2", "RANK=0", "MASTER_PORT=1234"});
  ASSERT_TRUE(launcher.ok()) << launcher.status().ToString();
  EXPECT_TRUE(launcher->leads());
  EXPECT_EQ(launcher->remote.port, 1234);
  const auto alone = FindHostPlace(config_, {"LWS_LEADER_ADDRESS=a", "LWS_GROUP_SIZE=1"});
  ASSERT_TRUE(alone.ok());
  EXPECT_EQ(alone->remote.num_hosts, 1);
}

TEST_F(HostPlaceTest, RefusesKeysThatAreNone) {
  config_.parallel.hosts = {"a", "b"};
  config_.parallel.host_index = 0;
  ASSERT_TRUE(FindHostPlace(config_, {}).ok());
  chmod(path_.c_str(), 0604);
  EXPECT_FALSE(FindHostPlace(config_, {}).ok());
  chmod(path_.c_str(), 0600);
  std::ofstream(path_) << "short\n";
  EXPECT_FALSE(FindHostPlace(config_, {}).ok());
}

}  // namespace
}  // namespace inferd::app
