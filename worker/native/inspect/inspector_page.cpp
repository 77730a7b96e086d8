#include "inspect/inspector_page.hpp"

#include <stdexcept>
#include <string_view>

#include <openssl/evp.h>

// A string literal of this size is not portable.
asm(".pushsection .rodata\n"
    "sidekick_inspector_page:\n"
    ".incbin \"" SIDEKICK_INSPECTOR_PAGE
    "\"\n"
    "sidekick_inspector_page_end:\n"
    ".popsection\n");
extern "C" const char sidekick_inspector_page[], sidekick_inspector_page_end[];

namespace sidekick::host {

namespace {

std::string base64(const std::string& bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');  // a NUL comes last
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                   reinterpret_cast<const unsigned char*>(bytes.data()),
                                   static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

void replace(std::string& page, std::string_view mark, std::string_view text) {
  const std::size_t at = page.find(mark);
  if (at == page.npos) throw std::logic_error("the inspector has no " + std::string(mark));
  page.replace(at, mark.size(), text);
}

}  // namespace

/// The same parts as in worker/src/node/inspector-page.ts.
std::string live_page(const std::string& module) {
  std::string page(sidekick_inspector_page, sidekick_inspector_page_end);
  replace(page, "connect-src 'none'", "connect-src 'self'");
  replace(page, "<!--module-->",
          R"(<script type="text/plain" id="module" data-encoding="none">)" + base64(module) +
              "</script>");
  replace(page, "<!--recording-->", R"(<script type="text/plain" class="live"></script>)");
  return page;
}

}  // namespace sidekick::host
