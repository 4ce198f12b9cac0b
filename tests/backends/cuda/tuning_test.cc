// Which algorithm a product gets, and that it is found out once.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "backends/cuda/fake_cuda.h"
#include "backends/cuda/library_gemm.h"

namespace inferd::testing {
namespace {

namespace fs = std::filesystem;

constexpr int32_t kOutputs = 48;
constexpr int32_t kRowBytes = 128;
constexpr int32_t kRows = 200;

class TuningTest : public ::testing::Test {
 protected:
  TuningTest() : directory_(fs::temp_directory_path() / ("tuning-" + std::to_string(getpid()))) {}
  ~TuningTest() override { fs::remove_all(directory_); }
  void SetUp() override {
    fs::remove_all(directory_);
    Restart(directory_);
  }
  void Restart(const fs::path& directory) {
    scratch_ = Buffer();
    memory_ = Buffer();
    library_ = nullptr;
    device_ = nullptr;
    ResetFakeCuda();
    device_ = Device::Open(0).value();
    library_ = LibraryGemm::Create(*device_, directory).value();
    scratch_ = Buffer::Create(*device_, size_t{256} * kRowBytes).value();
    memory_ = Buffer::Create(*device_, size_t{1} << 20).value();
  }
  static LibraryGemm::Product Shape(LibraryGemm::Kind kind) {
    LibraryGemm::Product shape;
    shape.kind = kind;
    shape.outputs = kOutputs;
    shape.row_bytes = kRowBytes;
    return shape;
  }
  // How many products it took.
  int64_t Tune() {
    const int64_t before = FakeCuda().library_products;
    const LibraryGemm::Product shapes[] = {Shape(LibraryGemm::Kind::kBf16),
                                           Shape(LibraryGemm::Kind::kInt8)};
    library_->Tune(shapes, kRows, {scratch_.data(), scratch_.size()});
    EXPECT_TRUE(device_->Wait().ok());
    return FakeCuda().library_products - before;
  }
  // What a product takes by the device's clock.
  float Milliseconds(LibraryGemm::Kind kind, int32_t rows) {
    LibraryGemm::Product product = Shape(kind);
    product.rows = rows;
    product.x = memory_.data();
    product.weights = memory_.data() + (size_t{64} << 10);
    product.out = memory_.data() + (size_t{128} << 10);
    const StreamMark begin = StreamMark::Create(true).value();
    const StreamMark end = StreamMark::Create(true).value();
    device_->Mark(begin);
    library_->Multiply(product);
    device_->Mark(end);
    EXPECT_TRUE(device_->Wait().ok());
    return device_->MillisecondsBetween(begin, end);
  }
  fs::path OnlyFile() const { return fs::directory_iterator(directory_)->path(); }

  const fs::path directory_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<LibraryGemm> library_;
  Buffer scratch_;
  Buffer memory_;
};

TEST_F(TuningTest, TheFastestIsTakenAndKept) {
  EXPECT_EQ(Milliseconds(LibraryGemm::Kind::kBf16, 300), 4.0F);  // the first choice
  // Two kinds, rows up to 128 and 256, three algorithms of four that work, four runs each.
  EXPECT_EQ(Tune(), 2 * 2 * 3 * 4);
  for (const auto kind : {LibraryGemm::Kind::kBf16, LibraryGemm::Kind::kInt8}) {
    EXPECT_EQ(Milliseconds(kind, 100), 1.0F);
    EXPECT_EQ(Milliseconds(kind, kRows), 1.0F);
  }
  EXPECT_EQ(Milliseconds(LibraryGemm::Kind::kBf16, 300), 4.0F);  // it was more than asked for
  const int64_t allocations = FakeCuda().device_allocations;
  EXPECT_EQ(Tune(), 0);
  EXPECT_EQ(FakeCuda().device_allocations, allocations);

  Restart(directory_);
  EXPECT_EQ(Tune(), 0);  // the file says it
  EXPECT_EQ(Milliseconds(LibraryGemm::Kind::kBf16, 100), 1.0F);
  EXPECT_NE(OnlyFile().filename().string().find("emulated-130100"), std::string::npos);
}

TEST_F(TuningTest, WithoutADirectoryNothingIsMeasured) {
  Restart({});
  EXPECT_EQ(Tune(), 2 * 2);  // each first choice once, so that its code is loaded
  EXPECT_EQ(Tune(), 0);
  EXPECT_EQ(Milliseconds(LibraryGemm::Kind::kBf16, 100), 4.0F);
}

// An algorithm is chosen for a power of two of rows; the library need not take it for fewer.
TEST_F(TuningTest, RowsThatAnAlgorithmRefusesHaveOneOfTheirOwn) {
  Tune();
  SetFakeLibraryRefusal(100);
  EXPECT_EQ(Milliseconds(LibraryGemm::Kind::kBf16, 100), 4.0F);  // its own first choice
  EXPECT_EQ(Milliseconds(LibraryGemm::Kind::kBf16, 101), 1.0F);
  const size_t algorithms = library_->num_algorithms();
  EXPECT_EQ(Milliseconds(LibraryGemm::Kind::kBf16, 100), 4.0F);
  EXPECT_EQ(library_->num_algorithms(), algorithms);  // it is kept
  SetFakeLibraryRefusal(0);
}

// Rows of x begin at multiples of 64 bytes, those of the result at any of 4: the library is told,
// whose algorithms count on 256.
TEST_F(TuningTest, AddressesAreAsAlignedAsTheLibraryIsTold) {
  LibraryGemm::Product product = Shape(LibraryGemm::Kind::kBf16);
  product.outputs = 47;
  product.rows = 70;
  product.row_bytes = 192;
  product.x = memory_.data() + 3 * 192;
  product.weights = memory_.data() + (size_t{64} << 10);
  product.out = memory_.data() + (size_t{128} << 10) + 5 * 47 * 4;
  library_->Multiply(product);
  EXPECT_TRUE(device_->Wait().ok());
}

// Where groups of products are of E4M3, they are another kind.
TEST_F(TuningTest, Fp8ProductsAreTunedToo) {
  const LibraryGemm::Product shape = Shape(LibraryGemm::Kind::kFp8);
  library_->Tune({&shape, 1}, kRows, {scratch_.data(), scratch_.size()});
  EXPECT_EQ(Milliseconds(LibraryGemm::Kind::kFp8, kRows), 1.0F);
  EXPECT_EQ(Milliseconds(LibraryGemm::Kind::kBf16, kRows), 4.0F);
}

// A file is not believed: another one's, a cut one, and one with words that the library
// does not know are measured anew.
TEST_F(TuningTest, ADamagedFileIsNotBelieved) {
  Tune();
  std::stringstream text;
  text << std::ifstream(OnlyFile()).rdbuf();
  const std::string whole = text.str();
  const auto measured_with = [&](const std::string& content) {
    std::ofstream(OnlyFile()) << content;
    Restart(directory_);
    const int64_t products = Tune();
    EXPECT_EQ(Milliseconds(LibraryGemm::Kind::kInt8, 100), 1.0F);
    return products;
  };
  EXPECT_EQ(measured_with(whole), 0);
  EXPECT_EQ(measured_with(whole.substr(0, whole.size() - 30)), 12);  // the last line is cut
  EXPECT_EQ(measured_with("inferd algorithms 2\n" + whole.substr(whole.find('\n') + 1)), 48);
  std::string other = whole;
  other.replace(other.find(" 128 4096 ") + 10, 2, "77");  // as many outputs as it does not have
  EXPECT_EQ(measured_with(other), 12);
  std::string greedy = whole;
  greedy.replace(greedy.find(" 4096 "), 6, " 99999999999 ");  // a workspace that is not there
  EXPECT_EQ(measured_with(greedy), 12);
  EXPECT_EQ(measured_with(std::string(size_t{2} << 20, ' ')), 48);
  EXPECT_EQ(measured_with(whole), 0);
  fs::permissions(OnlyFile(), fs::perms::others_write, fs::perm_options::add);
  EXPECT_EQ(measured_with(whole), 48);
  EXPECT_EQ(measured_with(whole), 0);  // it was replaced
}

}  // namespace
}  // namespace inferd::testing
