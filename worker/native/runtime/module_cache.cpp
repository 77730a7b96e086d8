#include "runtime/module_cache.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <cstdio>

#include <openssl/evp.h>

#include "errors.hpp"
#include "store/file.hpp"

namespace sidekick::host {

namespace {

constexpr std::string_view magic = "sidekick cwasm 1";
constexpr std::size_t digest_bytes = 32;
constexpr std::size_t head_bytes = magic.size() + 2 * digest_bytes;

std::string digest(std::string_view bytes) {
  std::string out(digest_bytes, '\0');
  EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(out.data()), nullptr,
             EVP_sha256(), nullptr);
  return out;
}

const std::uint8_t* as_bytes(std::string_view text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}

std::string head_for(std::string_view wasm, std::string_view compiled) {
  return std::string(magic) + digest(wasm) + digest(compiled);
}

/// Nothing where there is none, or none that can be used.
ModulePtr read_cache(wasm_engine_t& engine, const std::string& path, std::string_view wasm,
                     Log& log) {
  const File found = read_file(path, true);
  if (found.error != 0) return nullptr;
  const std::string& file = found.bytes;
  const auto unusable = [&](std::string_view why) {
    log.warn("the compiled module in the cache cannot be used and is made anew",
             {{"file", path}, {"reason", why}});
    return nullptr;
  };
  if (file.size() < head_bytes || !file.starts_with(magic))
    return unusable("it is damaged, or something else");
  const std::string_view compiled = std::string_view(file).substr(head_bytes);
  const std::string expected = head_for(wasm, compiled);
  if (file.compare(magic.size(), digest_bytes, expected, magic.size(), digest_bytes) != 0)
    return unusable("it is of another module");
  if (!file.starts_with(expected)) return unusable("it is damaged");
  wasmtime_module_t* module = nullptr;
  if (wasmtime_error_t* error =
          wasmtime_module_deserialize(&engine, as_bytes(compiled), compiled.size(), &module))
    return unusable(take_message(error));
  return ModulePtr(module);
}

/// A cache that cannot be written costs the next start a second: no reason to stop.
void write_cache(wasmtime_module_t& module, const std::string& path, std::string_view wasm,
                 Log& log) {
  wasm_byte_vec_t bytes;
  if (wasmtime_error_t* error = wasmtime_module_serialize(&module, &bytes))
    return log.warn("the compiled module could not be kept", {{"reason", take_message(error)}});
  const std::string compiled(bytes.data, bytes.size);
  wasm_byte_vec_delete(&bytes);
  const std::string file = head_for(wasm, compiled) + compiled;
  // Under another name first, one that nobody else has: who starts at the same time never sees half
  // a file.
  std::string draft = path + ".XXXXXX";
  const int fd = ::mkostemp(draft.data(), O_CLOEXEC);
  bool is_written = fd >= 0 && ::fchmod(fd, 0644) == 0;
  for (std::size_t at = 0; is_written && at < file.size();) {
    const ssize_t size = ::write(fd, file.data() + at, file.size() - at);
    is_written = size > 0;
    if (is_written) at += static_cast<std::size_t>(size);
  }
  if (is_written) is_written = std::rename(draft.c_str(), path.c_str()) == 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (fd >= 0 && !is_written) ::unlink(draft.c_str());
  if (!is_written)
    log.debug("the compiled module could not be kept",
              {{"file", path}, {"reason", errno_text(error)}});
}

}  // namespace

std::string take_message(wasmtime_error_t* error) {
  wasm_byte_vec_t text;
  wasmtime_error_message(error, &text);
  std::string message(text.data, text.size);
  wasm_byte_vec_delete(&text);
  wasmtime_error_delete(error);
  return message;
}

ModulePtr load_module(wasm_engine_t& engine, const std::string& file, Log& log) {
  const auto [wasm, unread] = read_file(file);
  if (unread != 0) throw StartError("--module " + file + ": " + errno_text(unread));
  const std::string cache =
      (file.ends_with(".wasm") ? file.substr(0, file.size() - 5) : file) + ".cwasm";
  if (ModulePtr module = read_cache(engine, cache, wasm, log)) return module;
  wasmtime_module_t* module = nullptr;
  if (wasmtime_error_t* error =
          wasmtime_module_new(&engine, as_bytes(wasm), wasm.size(), &module)) {
    throw StartError("--module " + file +
                     ": expected a WebAssembly module: " + take_message(error));
  }
  write_cache(*module, cache, wasm, log);
  return ModulePtr(module);
}

}  // namespace sidekick::host
