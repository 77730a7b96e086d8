# sidekick-server: the host in C++, with the core in wasmtime's sandbox or linked in. Built where Boost, OpenSSL and SQLite are there;
# without wasmtime's C API (scripts/setup) it has the native engine only.
find_package(Boost 1.81 QUIET)
find_package(OpenSSL 3.0 QUIET)
find_package(SQLite3 QUIET)
find_package(Threads REQUIRED)
if(NOT (Boost_FOUND AND OpenSSL_FOUND AND SQLite3_FOUND))
  message(STATUS "sidekick-server is not built: libboost1.81-dev, libssl-dev or libsqlite3-dev is missing (scripts/setup installs them)")
  return()
endif()
include(${CMAKE_CURRENT_LIST_DIR}/wasmtime/wasmtime.cmake OPTIONAL)

set(SIDEKICK_SERVER_SOURCES
  client_socket.cpp engine.cpp flat_border.cpp forwarder.cpp frames.cpp host.cpp http_session.cpp log.cpp loop.cpp memory_tokens.cpp native_engine.cpp
  recorder.cpp server.cpp server_url.cpp sqlite_tokens.cpp stream.cpp tls.cpp websocket.cpp wire.cpp)
if(TARGET wasmtime::wasmtime)
  list(APPEND SIDEKICK_SERVER_SOURCES wasmtime_engine.cpp module_cache.cpp)
else()
  list(APPEND SIDEKICK_SERVER_SOURCES no_wasmtime_engine.cpp)
endif()
list(TRANSFORM SIDEKICK_SERVER_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/src/)

# The second one is for tests: src/testing.hpp says what it can do. All but one file are compiled once for both.
add_library(sidekick_server_parts OBJECT ${SIDEKICK_SERVER_SOURCES})
target_precompile_headers(sidekick_server_parts PRIVATE ${CMAKE_CURRENT_LIST_DIR}/src/host.hpp)
add_executable(sidekick-server ${CMAKE_CURRENT_LIST_DIR}/src/cli.cpp)
add_executable(sidekick-server-for-tests ${CMAKE_CURRENT_LIST_DIR}/src/cli.cpp ${CMAKE_CURRENT_LIST_DIR}/src/testing.cpp)
target_compile_definitions(sidekick-server-for-tests PRIVATE SIDEKICK_TESTING)
# What the sandbox costs: cmake --build --preset native --target engine_bench && build/native/engine_bench
add_executable(engine_bench EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/tests/bench/engine_bench.cpp)

foreach(target sidekick_server_parts sidekick-server sidekick-server-for-tests engine_bench)
  target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/src ${CMAKE_SOURCE_DIR}/wasm-bindings)
  target_include_directories(${target} SYSTEM PRIVATE ${Boost_INCLUDE_DIRS})
  # Boost has exceptions and run-time types; the core, linked in, has neither.
  target_compile_options(${target} PRIVATE -fexceptions -frtti $<$<CONFIG:Release>:-O2>)
  target_compile_definitions(${target} PRIVATE BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_DISABLE_VISIBILITY BOOST_BEAST_USE_STD_STRING_VIEW BOOST_URL_NO_LIB)
  target_link_libraries(${target} PRIVATE sidekick_core nlohmann_json::nlohmann_json OpenSSL::SSL OpenSSL::Crypto SQLite::SQLite3 Threads::Threads)
  if(TARGET wasmtime::wasmtime)
    target_link_libraries(${target} PRIVATE wasmtime::wasmtime)
  endif()
endforeach()
target_link_libraries(sidekick-server PRIVATE sidekick_server_parts)
target_link_libraries(sidekick-server-for-tests PRIVATE sidekick_server_parts)
target_link_libraries(engine_bench PRIVATE sidekick_server_parts)
