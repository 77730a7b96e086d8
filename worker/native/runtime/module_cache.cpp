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

constexpr std::string_view magic = "sidekick cwasm 2";
constexpr std::size_t digest_bytes = 32;
constexpr std::size_t head_bytes = magic.size() + 3 * digest_bytes;

std::string digest(std::string_view bytes) {
  std::string out(digest_bytes, '\0');
  EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(out.data()), nullptr,
             EVP_sha256(), nullptr);
  return out;
}

const std::uint8_t* as_bytes(std::string_view text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}

/// The source and the compiler of a compiled module.
struct Origin {
  std::string_view wasm;
  std::string_view build;
};

std::string head_for(const Origin& origin, std::string_view compiled) {
  return std::string(magic) + digest(origin.wasm) + digest(origin.build) + digest(compiled);
}

/// A cache file holds native code, which runs outside the sandbox: only this user and root may have
/// written it.
std::string object_to(const struct stat& status) {
  if (!S_ISREG(status.st_mode)) return "it is not a regular file";
  if (status.st_uid != 0 && status.st_uid != ::geteuid())
    return "it belongs to user " + std::to_string(status.st_uid);
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) return "other users can write to it";
  return {};
}

/// Null if there is no usable file.
ModulePtr read_cache(wasm_engine_t& engine, const std::string& path, const Origin& origin,
                     Log& log) {
  const File found = read_file(path, object_to);
  if (!found.objection.empty()) {
    log.warn(
        "the compiled module in the cache is ignored: let only root and the user of this server "
        "write to it and to its folder",
        {{"file", path}, {"reason", found.objection}});
    return nullptr;
  }
  if (found.error != 0) return nullptr;
  const std::string& file = found.bytes;
  const auto unusable = [&](std::string_view why) {
    log.warn("the compiled module in the cache is unusable; compiling it again",
             {{"file", path}, {"reason", why}});
    return nullptr;
  };
  if (file.size() < head_bytes || !file.starts_with(magic))
    return unusable("it is damaged, or another file");
  const std::string_view compiled = std::string_view(file).substr(head_bytes);
  const std::string expected = head_for(origin, compiled);
  const auto is_same = [&](std::size_t at) {
    return file.compare(at, digest_bytes, expected, at, digest_bytes) == 0;
  };
  if (!is_same(magic.size())) return unusable("it belongs to another module");
  if (!is_same(magic.size() + digest_bytes))
    return unusable("it belongs to another build of wasmtime");
  if (!file.starts_with(expected)) return unusable("it is damaged");
  wasmtime_module_t* module = nullptr;
  if (wasmtime_error_t* error = wasmtime_api.wasmtime_module_deserialize(
          &engine, as_bytes(compiled), compiled.size(), &module))
    return unusable(take_message(error));
  return ModulePtr(module);
}

/// A cache that cannot be written costs the next start a second: no reason to stop.
void write_cache(wasmtime_module_t& module, const std::string& path, const Origin& origin,
                 Log& log) {
  wasm_byte_vec_t bytes;
  if (wasmtime_error_t* error = wasmtime_api.wasmtime_module_serialize(&module, &bytes))
    return log.warn("the compiled module could not be stored", {{"reason", take_message(error)}});
  const std::string compiled(bytes.data, bytes.size);
  wasmtime_api.wasm_byte_vec_delete(&bytes);
  const std::string file = head_for(origin, compiled) + compiled;
  // Writes a unique file, then renames it: a process that starts at the same time never reads half
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
    log.debug("the compiled module could not be stored",
              {{"file", path}, {"reason", errno_text(error)}});
}

}  // namespace

ModulePtr load_module(wasm_engine_t& engine, const std::string& file, std::string_view build,
                      Log& log) {
  const File source = read_file(file);
  if (source.error != 0) throw StartError("--module " + file + ": " + errno_text(source.error));
  const std::string cache =
      (file.ends_with(".wasm") ? file.substr(0, file.size() - 5) : file) + ".cwasm";
  const Origin origin{source.bytes, build};
  ModulePtr module = read_cache(engine, cache, origin, log);
  const bool is_cached = module != nullptr;
  if (!is_cached) module = compile_module(engine, source.bytes);
  check_module(engine, *module);  // before it replaces a file that may belong to another program
  if (!is_cached) write_cache(*module, cache, origin, log);
  return module;
}

}  // namespace sidekick::host
