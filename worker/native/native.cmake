# sidekick-server: the host in C++, with the core as a module in wasmtime's sandbox or linked in.
# Built if Boost, OpenSSL, SQLite and hiredis are installed.
find_package(Boost 1.81 QUIET)
find_package(OpenSSL 3.0 QUIET)
find_package(SQLite3 QUIET)
find_package(Threads REQUIRED)
find_path(HIREDIS_INCLUDE_DIR hiredis/hiredis.h)
find_library(HIREDIS_LIBRARY hiredis)
if(NOT (Boost_FOUND AND OpenSSL_FOUND AND SQLite3_FOUND AND
    HIREDIS_INCLUDE_DIR AND HIREDIS_LIBRARY))
  message(STATUS "sidekick-server is not built: libboost1.81-dev, libssl-dev, libsqlite3-dev or "
    "libhiredis-dev is missing (scripts/setup installs them)")
  return()
endif()
find_program(NODE_PROGRAM node)
if(NOT NODE_PROGRAM OR NOT EXISTS ${CMAKE_SOURCE_DIR}/node_modules/esbuild)
  message(STATUS "sidekick-server is not built: Node or the npm packages that build the page of "
    "the inspector are missing (scripts/setup installs them)")
  return()
endif()
include(${CMAKE_CURRENT_LIST_DIR}/engine/scripts.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/inspect/page.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/runtime/wasmtime.cmake)

set(SIDEKICK_SERVER_SOURCES
  families.cpp host.cpp log.cpp output.cpp recorder.cpp server.cpp session.cpp
  engine/engine_url.cpp engine/redis.cpp engine/redis_errors.cpp engine/redis_link.cpp
  http/answer_reader.cpp http/forwarder.cpp http/http_session.cpp http/not_http.cpp
  http/server_url.cpp
  inspect/inspect_address.cpp inspect/inspect_session.cpp inspect/inspection.cpp
  inspect/inspector_page.cpp
  net/acceptor.cpp net/client_socket.cpp net/connect.cpp net/frames.cpp net/loop.cpp
  net/stream.cpp net/tls.cpp
  net/websocket.cpp
  net/wire.cpp runtime/module_cache.cpp runtime/native_runtime.cpp
  runtime/wasmtime_runtime.cpp
  store/memory_tokens.cpp store/private_file.cpp store/sqlite_tokens.cpp)
list(TRANSFORM SIDEKICK_SERVER_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
list(APPEND SIDEKICK_SERVER_SOURCES ${SIDEKICK_ENGINE_SCRIPTS})

# The second one is for tests: see testing.hpp. Both share the object files of this library.
add_library(sidekick_server_parts OBJECT ${SIDEKICK_SERVER_SOURCES})
target_precompile_headers(sidekick_server_parts PRIVATE ${CMAKE_CURRENT_LIST_DIR}/host.hpp)
add_executable(sidekick-server ${CMAKE_CURRENT_LIST_DIR}/cli.cpp)
add_executable(sidekick-server-for-tests
  ${CMAKE_CURRENT_LIST_DIR}/cli.cpp ${CMAKE_CURRENT_LIST_DIR}/testing.cpp)
target_compile_definitions(sidekick-server-for-tests PRIVATE SIDEKICK_TESTING)
# Measures the sandbox's cost:
#   cmake --build --preset native --target runtime_bench && build/native/runtime_bench
add_executable(runtime_bench EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/tests/bench/runtime_bench.cpp)

add_executable(sidekick-session-tests
  ${CMAKE_SOURCE_DIR}/tests/hosts/native/families_test.cpp
  ${CMAKE_SOURCE_DIR}/tests/hosts/native/log_test.cpp
  ${CMAKE_SOURCE_DIR}/tests/hosts/native/server_url_test.cpp
  ${CMAKE_SOURCE_DIR}/tests/hosts/native/session_test.cpp)
add_executable(sidekick-redis-tests ${CMAKE_SOURCE_DIR}/tests/engine/redis_test.cpp)

foreach(target
    sidekick_server_parts sidekick-server sidekick-server-for-tests sidekick-session-tests
    sidekick-redis-tests runtime_bench)
  target_include_directories(${target} PRIVATE
    ${CMAKE_CURRENT_LIST_DIR} ${CMAKE_SOURCE_DIR}/wasm-bindings)
  target_include_directories(${target} SYSTEM PRIVATE
    ${Boost_INCLUDE_DIRS} ${HIREDIS_INCLUDE_DIR})
  # Boost has exceptions and run-time types; the core, linked in, has neither.
  target_compile_options(${target} PRIVATE -fexceptions -frtti $<$<CONFIG:Release>:-O2>)
  target_compile_definitions(${target} PRIVATE
    BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_DISABLE_VISIBILITY BOOST_BEAST_USE_STD_STRING_VIEW
    BOOST_URL_NO_LIB)
  target_link_libraries(${target} PRIVATE
    sidekick_core sidekick_module_runtime nlohmann_json::nlohmann_json OpenSSL::SSL OpenSSL::Crypto
    SQLite::SQLite3 ${HIREDIS_LIBRARY} Threads::Threads)
endforeach()
target_link_libraries(sidekick-server PRIVATE sidekick_server_parts)
target_link_libraries(sidekick-server-for-tests PRIVATE sidekick_server_parts)
target_link_libraries(sidekick-session-tests PRIVATE sidekick_server_parts)
target_link_libraries(sidekick-redis-tests PRIVATE sidekick_server_parts)
target_link_libraries(runtime_bench PRIVATE sidekick_server_parts)
