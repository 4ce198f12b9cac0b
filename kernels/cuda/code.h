// The code of the kernels on the device. CUDA loads a kernel's code when it is first used unless
// it is asked for: into memory of its own, and waiting for the device where it must. Asked for
// before a rank is ready, it is counted in what is free then, and no step waits for it. Each
// kernel file names its kernels; the fake runtime of the tests refuses one that is missing.
#pragma once

namespace inferd::cuda {

// Of one kernel file each, to the thread's device: 0 or a cudaError_t, for one when there is no
// code for such a device.
namespace code {
int LoadAttentionDecode();
int LoadAttentionPlain();
int LoadAttentionPrefill();
int LoadAttentionWork();
int LoadLinearFloat();
int LoadLinearFp8();
int LoadLinearFp8Wide();
int LoadLinearInt4();
int LoadLinearInt4Tile();
int LoadLinearInt4Wide();
int LoadLinearRows();
int LoadLinearSkinny();
int LoadLinearSums();
int LoadLinearWide();
int LoadNorm();
int LoadRopeKv();
int LoadRows();
int LoadSample();
int LoadSampleAdjust();
int LoadSampleLogprobs();
int LoadSilu();
int LoadStep();
}  // namespace code

// Of all of them.
inline int LoadCode() {
  using Load = int (*)();
  constexpr Load kFiles[] = {code::LoadAttentionDecode,
                             code::LoadAttentionPlain,
                             code::LoadAttentionPrefill,
                             code::LoadAttentionWork,
                             code::LoadLinearFloat,
                             code::LoadLinearFp8,
                             code::LoadLinearFp8Wide,
                             code::LoadLinearInt4,
                             code::LoadLinearInt4Tile,
                             code::LoadLinearInt4Wide,
                             code::LoadLinearRows,
                             code::LoadLinearSkinny,
                             code::LoadLinearSums,
                             code::LoadLinearWide,
                             code::LoadNorm,
                             code::LoadRopeKv,
                             code::LoadRows,
                             code::LoadSample,
                             code::LoadSampleAdjust,
                             code::LoadSampleLogprobs,
                             code::LoadSilu,
                             code::LoadStep};
  for (const Load load : kFiles) {
    if (const int error = load(); error != 0) return error;
  }
  return 0;
}

}  // namespace inferd::cuda
