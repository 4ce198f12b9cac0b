#include "model/packed_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <thread>
#include <type_traits>

#include "inferd/base/unique_fd.h"
#include "model/packed_format.h"

namespace inferd::model {
namespace {

static_assert(std::is_trivially_copyable_v<PackedRecord> && sizeof(PackedRecord) == 184);
static_assert(std::is_trivially_copyable_v<PackedHeader> && sizeof(PackedHeader) == 72);

constexpr int64_t kMaxFeatures = int64_t{1} << 31;

Status Unusable(std::string_view why) { return FailedPreconditionError(why); }

uint64_t LoadWord(const std::byte* from) {
  uint64_t word = 0;
  std::memcpy(&word, from, sizeof(word));
  return word;
}

uint64_t Fold(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// Opens a file that only we, or root, can have put there.
StatusOr<UniqueFd> OpenOwn(const std::filesystem::path& path, uint64_t* bytes) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR) return NotFoundError("no such file");
    return Unusable(std::string("cannot be opened: ") + std::strerror(errno));
  }
  struct stat facts {};
  if (fstat(fd.get(), &facts) != 0 || !S_ISREG(facts.st_mode)) {
    return Unusable("is not a regular file");
  }
  if ((facts.st_uid != geteuid() && facts.st_uid != 0) || (facts.st_mode & S_IWOTH) != 0) {
    return Unusable("others could have written it");
  }
  *bytes = static_cast<uint64_t>(facts.st_size);
  return fd;
}

bool IsSound(const PackedRecord& record, uint64_t data_end) {
  const auto within = [data_end](uint64_t begin, uint64_t bytes) {
    return bytes == 0 || (begin >= kPackedChunkBytes && begin % kPackedAlignment == 0 &&
                          begin < data_end && bytes <= data_end - begin);
  };
  return record.name[PackedRecord::kNameBytes - 1] == '\0' && record.out_features >= 0 &&
         record.out_features < kMaxFeatures && record.in_features >= 0 &&
         record.in_features < kMaxFeatures && record.format >= 0 &&
         record.format < kNumWeightFormats && record.group_size >= 0 &&
         within(record.data_begin, record.data_bytes) &&
         within(record.bias_begin, record.bias_bytes);
}

}  // namespace

uint64_t FastHash(std::span<const std::byte> bytes, uint64_t seed) {
  // Odd numbers with mixed bits; four chains, so that multiplications overlap.
  constexpr uint64_t kMix[4] = {0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb,
                                0xd6e8feb86659fd93};
  uint64_t chain[4] = {seed ^ kMix[0], seed ^ kMix[1], seed ^ kMix[2], seed ^ kMix[3]};
  const std::byte* from = bytes.data();
  size_t left = bytes.size();
  for (; left >= 64; left -= 64, from += 64) {
    for (size_t i = 0; i < 4; ++i) {
      chain[i] = Fold(LoadWord(from + 16 * i) ^ kMix[i], LoadWord(from + 16 * i + 8) ^ chain[i]);
    }
  }
  uint64_t hash = bytes.size();
  for (const uint64_t link : chain) hash = Fold(hash ^ kMix[1], link ^ kMix[2]);
  for (; left > 0; --left, ++from) {
    hash = Fold(hash ^ std::to_integer<uint64_t>(*from), kMix[3]) + kMix[0];
  }
  return Fold(hash ^ kMix[0], kMix[1]);
}

PackedFile& PackedFile::operator=(PackedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(reserved_, other.reserved_);
  std::swap(reserved_bytes_, other.reserved_bytes_);
  std::swap(records_, other.records_);
  return *this;
}

PackedFile::~PackedFile() {
  if (reserved_ != nullptr) munmap(reserved_, reserved_bytes_);
}

// At an address aligned to 2 MiB, where the kernel can map large pages of the page
// cache as such.
Status PackedFile::Map(int fd, uint64_t bytes) {
  reserved_bytes_ = bytes + kPackedChunkBytes;
  void* reserved =
      mmap(nullptr, reserved_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return ResourceExhaustedError("cannot be mapped");
  reserved_ = reserved;
  const auto address = reinterpret_cast<uintptr_t>(reserved);
  const uint64_t skip = (kPackedChunkBytes - address % kPackedChunkBytes) % kPackedChunkBytes;
  void* mapped = mmap(static_cast<std::byte*>(reserved) + skip, bytes, PROT_READ,
                      MAP_PRIVATE | MAP_FIXED, fd, 0);
  if (mapped == MAP_FAILED) return ResourceExhaustedError("cannot be mapped");
  data_ = static_cast<std::byte*>(mapped);
  size_ = bytes;
  // Wishes both: large pages, and reading ahead of us.
  (void)madvise(data_, size_, MADV_HUGEPAGE);
  (void)madvise(data_, size_, MADV_WILLNEED);
  return OkStatus();
}

StatusOr<PackedFile> PackedFile::Open(const std::filesystem::path& path, const Hash128& key,
                                      int threads) {
  uint64_t bytes = 0;
  INFERD_ASSIGN_OR_RETURN(const UniqueFd fd, OpenOwn(path, &bytes));
  PackedHeader header;
  PackedFile file;
  Status status;
  // Read, not mapped: a file of another kind shall not be touched further.
  if (pread(fd.get(), &header, sizeof(header), 0) != static_cast<ssize_t>(sizeof(header)) ||
      header.magic != kPackedMagic || header.header_hash != HeaderHash(header)) {
    status = Unusable("is not a file of packed weights, or damaged");
  } else if (header.key != key) {
    status = Unusable("is of other weights");
  } else if (header.file_bytes != bytes) {
    status = Unusable("has been cut");
  } else {
    status = file.Map(fd.get(), bytes);
  }
  INFERD_RETURN_IF_ERROR(status);
  std::vector<uint64_t> hashes;
  INFERD_RETURN_IF_ERROR(file.ReadIndex(header, &hashes));
  INFERD_RETURN_IF_ERROR(file.CheckChunks(hashes, threads));
  return file;
}

Status PackedFile::ReadIndex(const PackedHeader& header, std::vector<uint64_t>* chunk_hashes) {
  if (header.num_records > kMaxPackedRecords || header.index_begin % kPackedChunkBytes != 0 ||
      header.index_begin < kPackedChunkBytes || header.index_begin > size_ ||
      header.num_chunks != header.index_begin / kPackedChunkBytes - 1 ||
      size_ - header.index_begin !=
          header.num_chunks * sizeof(uint64_t) + header.num_records * sizeof(PackedRecord)) {
    return Unusable("has an unsound header");
  }
  const std::byte* index = data_ + header.index_begin;
  if (FastHash({index, size_ - header.index_begin}, kPackedMagic) != header.index_hash) {
    return Unusable("has a damaged index");
  }
  chunk_hashes->resize(header.num_chunks);
  if (header.num_chunks > 0) {
    std::memcpy(chunk_hashes->data(), index, header.num_chunks * sizeof(uint64_t));
  }
  index += header.num_chunks * sizeof(uint64_t);
  for (uint64_t i = 0; i < header.num_records; ++i) {
    PackedRecord record;
    std::memcpy(&record, index + i * sizeof(record), sizeof(record));
    if (!IsSound(record, header.index_begin)) return Unusable("has an unsound index");
    records_.emplace(record.name, record);
  }
  return OkStatus();
}

// Touches every page, so what is mapped is in memory afterwards.
Status PackedFile::CheckChunks(const std::vector<uint64_t>& hashes, int threads) const {
  std::atomic<size_t> next{0};
  std::atomic<bool> damaged{false};
  const auto work = [&] {
    for (size_t i = next++; i < hashes.size() && !damaged; i = next++) {
      const std::span<const std::byte> chunk(data_ + (i + 1) * kPackedChunkBytes,
                                             kPackedChunkBytes);
      if (FastHash(chunk, i) != hashes[i]) damaged = true;
    }
  };
  std::vector<std::thread> helpers;
  try {
    for (int i = 1; i < threads; ++i) helpers.emplace_back(work);
  } catch (const std::system_error&) {
    // Fewer do it as well.
  }
  work();
  for (std::thread& helper : helpers) helper.join();
  return damaged ? Unusable("is damaged") : OkStatus();
}

void PackedFile::ReleasePages() const {
  if (data_ != nullptr) (void)madvise(data_, size_, MADV_DONTNEED);
}

Buffer PackedFile::At(uint64_t begin, uint64_t bytes) const {
  return bytes == 0 ? Buffer() : Buffer::Borrow(data_ + begin, bytes);
}

StatusOr<LinearWeight> PackedFile::Linear(std::string_view name) const {
  const auto it = records_.find(name);
  if (it == records_.end() || it->second.in_features == 0) {
    return NotFoundError("lacks " + std::string(name));
  }
  const PackedRecord& record = it->second;
  LinearWeight weight;
  weight.format = static_cast<WeightFormat>(record.format);
  weight.out_features = record.out_features;
  weight.in_features = record.in_features;
  weight.group_size = record.group_size;
  weight.packed = At(record.data_begin, record.data_bytes);
  weight.bias = At(record.bias_begin, record.bias_bytes);
  return weight;
}

StatusOr<VectorWeight> PackedFile::Vector(std::string_view name) const {
  const auto it = records_.find(name);
  if (it == records_.end() || it->second.in_features != 0 ||
      it->second.data_bytes != static_cast<uint64_t>(it->second.out_features) * sizeof(float)) {
    return NotFoundError("lacks " + std::string(name));
  }
  VectorWeight weight;
  weight.size = it->second.out_features;
  weight.data = At(it->second.data_begin, it->second.data_bytes);
  return weight;
}

}  // namespace inferd::model
