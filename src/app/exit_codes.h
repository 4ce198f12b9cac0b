#pragma once

namespace inferd::app {

// What `inferd` exits with; docs/configuration.md tells operators.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;         // could not start, or the request failed
inline constexpr int kExitUsage = 2;           // bad flag
inline constexpr int kExitEngineFailure = 70;  // the engine died
inline constexpr int kExitConfig = 78;         // bad configuration file or environment

}  // namespace inferd::app
