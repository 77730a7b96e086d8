# Toolchain file for WASI. Uses the wasi-sdk if WASI_SDK_PREFIX is set (its own convention),
# otherwise clang-19 and wasi-libc from Debian. CMake 3.25 has no Platform/WASI.cmake, so the system
# is declared generic.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR wasm32)
if(DEFINED ENV{WASI_SDK_PREFIX})
  set(CMAKE_C_COMPILER "$ENV{WASI_SDK_PREFIX}/bin/clang")
  set(CMAKE_CXX_COMPILER "$ENV{WASI_SDK_PREFIX}/bin/clang++")
  set(CMAKE_SYSROOT "$ENV{WASI_SDK_PREFIX}/share/wasi-sysroot")
else()
  set(CMAKE_C_COMPILER clang-19)
  set(CMAKE_CXX_COMPILER clang++-19)
  set(CMAKE_CXX_FLAGS_INIT "-stdlib=libc++")
endif()
set(CMAKE_C_COMPILER_TARGET wasm32-wasi)
set(CMAKE_CXX_COMPILER_TARGET wasm32-wasi)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
