#include "model/layer_stream.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <numeric>
#include <string>

namespace inferd::model {
namespace {

constexpr size_t kLayers = 8;
constexpr size_t kLayerBytes = size_t{1} << 20;
constexpr size_t kPage = 4096;

// A mapped file of kLayers layers, each full of its number.
class LayerStreamTest : public ::testing::Test {
 protected:
  LayerStreamTest() {
    std::string path = "/tmp/layer_stream_XXXXXX";
    const int fd = mkstemp(path.data());
    EXPECT_GE(fd, 0);
    unlink(path.c_str());
    for (size_t i = 0; i < kLayers; ++i) {
      const std::string layer(kLayerBytes, static_cast<char>(i + 1));
      EXPECT_EQ(write(fd, layer.data(), layer.size()), static_cast<ssize_t>(layer.size()));
    }
    void* data = mmap(nullptr, kLayers * kLayerBytes, PROT_READ, MAP_PRIVATE, fd, 0);
    EXPECT_NE(data, MAP_FAILED);
    data_ = static_cast<std::byte*>(data);
    close(fd);
  }
  ~LayerStreamTest() override { munmap(data_, kLayers * kLayerBytes); }

  std::vector<LayerStream::Region> Regions(size_t layers) const {
    std::vector<LayerStream::Region> regions;
    for (size_t i = 0; i < layers; ++i) regions.push_back({data_ + i * kLayerBytes, kLayerBytes});
    return regions;
  }
  // Whether this process has the page, by /proc/self/pagemap's highest bit.
  bool IsPresent(size_t layer) const {
    const int fd = open("/proc/self/pagemap", O_RDONLY);
    uint64_t entry = 0;
    const auto page = reinterpret_cast<uintptr_t>(data_ + layer * kLayerBytes) / kPage;
    EXPECT_EQ(pread(fd, &entry, sizeof(entry), static_cast<off_t>(page * sizeof(entry))),
              static_cast<ssize_t>(sizeof(entry)));
    close(fd);
    return (entry >> 63) != 0;
  }
  std::byte* data_ = nullptr;
};

TEST_F(LayerStreamTest, LayersAreThereWhenUsedAndGoneAfterwards) {
  LayerStream stream(Regions(kLayers));
  for (int round = 0; round < 3; ++round) {
    for (size_t i = 0; i < kLayers; ++i) {
      ASSERT_TRUE(stream.Use(i).ok());
      EXPECT_TRUE(IsPresent(i)) << i;
      size_t present = 0;
      for (size_t other = 0; other < kLayers; ++other) present += IsPresent(other) ? 1 : 0;
      EXPECT_LE(present, static_cast<size_t>(LayerStream::kMostLayers));
      EXPECT_EQ(std::to_integer<size_t>(data_[i * kLayerBytes + 77]), i + 1);
      stream.Release(i);
      EXPECT_FALSE(IsPresent(i)) << i;
    }
  }
}

TEST_F(LayerStreamTest, FewLayersStay) {
  LayerStream stream(Regions(2));
  for (int round = 0; round < 3; ++round) {
    for (size_t i = 0; i < 2; ++i) {
      ASSERT_TRUE(stream.Use(i).ok());
      EXPECT_EQ(std::to_integer<size_t>(data_[i * kLayerBytes]), i + 1);
      stream.Release(i);
      EXPECT_TRUE(IsPresent(i));
    }
  }
}

TEST_F(LayerStreamTest, EndsInTheMiddle) {
  LayerStream stream(Regions(kLayers));
  EXPECT_TRUE(stream.Use(3).ok());
}

}  // namespace
}  // namespace inferd::model
