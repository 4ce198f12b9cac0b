// libcuda.so.1 as far as `inferd` asks it before it opens its own library.
#include <cstdlib>

extern "C" {

int cuInit(unsigned /*flags*/) { return 0; }
int cuDeviceGetCount(int* count) {
  const char* devices = std::getenv("EMULATED_GPUS");
  *count = devices != nullptr ? std::atoi(devices) : 1;
  return 0;
}

}  // extern "C"
