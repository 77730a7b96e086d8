#include "runtime/wasmtime_library.hpp"

#include <elf.h>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <vector>

#include <dlfcn.h>
#include <link.h>

namespace sidekick::host {

WasmtimeApi wasmtime_api;

namespace {

#ifdef SIDEKICK_WASMTIME_LINKED

WasmtimeLibrary open_library(const std::optional<std::string>&) {
#define SIDEKICK_WASMTIME_FUNCTION(name) wasmtime_api.name = &::name;
#include "runtime/wasmtime_functions.def"
  return {.version = WASMTIME_VERSION, .file = "linked in", .build = WASMTIME_VERSION};
}

#else

/// The section of compiled code that identifies the wasmtime that compiled it: a byte for the
/// format, the length of the version, the version. wasmtime checks it before it loads such code.
std::string version_in(std::string_view elf) {
  const auto is_inside = [&](std::uint64_t at, std::uint64_t size) {
    return at <= elf.size() && size <= elf.size() - at;
  };
  Elf64_Ehdr head;
  if (!is_inside(0, sizeof head)) return "";
  std::memcpy(&head, elf.data(), sizeof head);
  const auto section = [&](unsigned index, Elf64_Shdr& out) {
    const std::uint64_t at = head.e_shoff + std::uint64_t{index} * sizeof out;
    if (!is_inside(at, sizeof out)) return false;
    std::memcpy(&out, elf.data() + at, sizeof out);
    return is_inside(out.sh_offset, out.sh_size);
  };
  Elf64_Shdr names;
  if (!section(head.e_shstrndx, names)) return "";
  for (unsigned index = 0; index < head.e_shnum; ++index) {
    Elf64_Shdr found;
    if (!section(index, found) || found.sh_name >= names.sh_size) continue;
    const std::string_view all_names = elf.substr(names.sh_offset, names.sh_size);
    if (!all_names.substr(found.sh_name).starts_with(std::string_view(".wasmtime.engine\0", 17))) {
      continue;
    }
    const std::string_view data = elf.substr(found.sh_offset, found.sh_size);
    if (data.size() < 2 || data[0] != 0) return "";
    return std::string(data.substr(2, static_cast<unsigned char>(data[1])));
  }
  return "";
}

/// The C API has no function that returns the version, so this compiles an empty module and reads
/// it there. It calls only functions that are the same in all versions.
std::string version_of_library() {
  constexpr std::uint8_t empty_module[] = {0, 'a', 's', 'm', 1, 0, 0, 0};
  wasm_engine_t* engine = wasmtime_api.wasm_engine_new_with_config(wasmtime_api.wasm_config_new());
  wasmtime_module_t* module = nullptr;
  wasm_byte_vec_t bytes{};
  wasmtime_error_t* error =
      wasmtime_api.wasmtime_module_new(engine, empty_module, sizeof empty_module, &module);
  if (error == nullptr) error = wasmtime_api.wasmtime_module_serialize(module, &bytes);
  if (error != nullptr) wasmtime_api.wasmtime_error_delete(error);
  std::string version = version_in({bytes.data, bytes.size});
  if (bytes.data != nullptr) wasmtime_api.wasm_byte_vec_delete(&bytes);
  if (module != nullptr) wasmtime_api.wasmtime_module_delete(module);
  wasmtime_api.wasm_engine_delete(engine);
  return version;
}

[[noreturn]] void fail(const std::string& reason) {
  throw WasmtimeMissing(reason + "; run scripts/wasmtime or set SIDEKICK_WASMTIME_LIBRARY");
}

std::string in_hexadecimal(const unsigned char* bytes, std::size_t size) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < size; ++i) {
    text += digits[bytes[i] >> 4];
    text += digits[bytes[i] & 15];
  }
  return text;
}

/// The linker's build id among the notes of a loaded file, if it has one.
std::string build_id_in(const unsigned char* notes, std::size_t size) {
  const auto padded = [](std::size_t it) { return (it + 3) / 4 * 4; };
  for (std::size_t at = 0; at + sizeof(ElfW(Nhdr)) <= size;) {
    ElfW(Nhdr) note;
    std::memcpy(&note, notes + at, sizeof note);
    const unsigned char* name = notes + at + sizeof note;
    at += sizeof note + padded(note.n_namesz) + padded(note.n_descsz);
    if (at <= size && note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
        std::memcmp(name, "GNU", 4) == 0) {
      return in_hexadecimal(name + 4, note.n_descsz);
    }
  }
  return "";
}

std::string build_id_of(void* library) {
  link_map* map = nullptr;
  if (::dlinfo(library, RTLD_DI_LINKMAP, &map) != 0) return "";
  struct Search {
    ElfW(Addr) address;
    std::string found;
  } search{map->l_addr, ""};
  const auto look = [](dl_phdr_info* info, std::size_t, void* data) {
    Search& wanted = *static_cast<Search*>(data);
    if (info->dlpi_addr != wanted.address) return 0;
    for (unsigned i = 0; i < info->dlpi_phnum && wanted.found.empty(); ++i) {
      const ElfW(Phdr)& part = info->dlpi_phdr[i];
      const auto* bytes = reinterpret_cast<const unsigned char*>(info->dlpi_addr + part.p_vaddr);
      if (part.p_type == PT_NOTE) wanted.found = build_id_in(bytes, part.p_memsz);
    }
    return 1;
  };
  ::dl_iterate_phdr(look, &search);
  return search.found;
}

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? std::nullopt : std::optional<std::string>(value);
}

std::string find_library() {
  if (const auto file = variable("SIDEKICK_WASMTIME_LIBRARY")) return *file;
  std::vector<std::filesystem::path> folders;
  if (const auto prefix = variable("WASMTIME_PREFIX")) {
    folders = {std::filesystem::path(*prefix) / "lib"};
  } else {
    folders = {std::filesystem::read_symlink("/proc/self/exe").parent_path(),
               SIDEKICK_WASMTIME_FOLDER};
  }
  std::string looked_for;
  for (const auto& folder : folders) {
    const std::filesystem::path file = folder / "libwasmtime.so";
    if (std::filesystem::exists(file)) return file;
    looked_for += (looked_for.empty() ? "" : " and ") + file.string();
  }
  fail("the wasmtime library is missing, looked for " + looked_for);
}

/// dlopen accepts a truncated file, and the process then dies where it touches a missing page.
/// Linkers write the section headers last.
void check_is_complete(const std::string& file) {
  ElfW(Ehdr) head;
  std::ifstream stream(file, std::ios::binary);
  if (!stream.read(reinterpret_cast<char*>(&head), sizeof head)) return;  // dlopen says why
  const std::uint64_t expected = head.e_shoff + std::uint64_t{head.e_shnum} * head.e_shentsize;
  const std::uint64_t found = std::filesystem::file_size(file);
  if (std::memcmp(head.e_ident, ELFMAG, SELFMAG) == 0 && found < expected) {
    fail(file + ": expected " + std::to_string(expected) + " bytes, found " +
         std::to_string(found));
  }
}

template <class Function>
void find_function(void* library, const char* name, Function*& function, const std::string& file) {
  function = reinterpret_cast<Function*>(::dlsym(library, name));
  if (function == nullptr) {
    fail(file + ": expected the C API of wasmtime " + std::to_string(WASMTIME_VERSION_MAJOR) +
         ", found no " + name);
  }
}

WasmtimeLibrary open_library(const std::optional<std::string>& given) {
  std::string file = given ? *given : find_library();
  if (file.find('/') == file.npos) file = "./" + file;  // a path, not a name to search for
  check_is_complete(file);
  void* const library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) fail(std::string("cannot load the wasmtime library: ") + ::dlerror());
#define SIDEKICK_WASMTIME_FUNCTION(name) find_function(library, #name, wasmtime_api.name, file);
#include "runtime/wasmtime_functions.def"
  const std::string version = version_of_library();
  if (version != std::to_string(WASMTIME_VERSION_MAJOR)) {
    fail(file + ": expected wasmtime " + std::to_string(WASMTIME_VERSION_MAJOR) + ", found " +
         (version.empty() ? "an unknown version" : version));
  }
  return {.version = version, .file = file, .build = build_id_of(library)};
}

#endif

}  // namespace

const WasmtimeLibrary& load_wasmtime(const std::optional<std::string>& file) {
  static const WasmtimeLibrary library = open_library(file);
  return library;
}

}  // namespace sidekick::host
