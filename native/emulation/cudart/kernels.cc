// What nvcc's code registers when the addon is loaded: binaries with PTX, and functions on the host
// that stand for kernels.

#include <cxxabi.h>
#include <fatbinary_section.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>

#include "emulation/cudart/cudart.h"

namespace alphamargin::emulated::cudart {
namespace {

// Of what nvcc embeds: the beginning, and then entries for one architecture each.
struct FatBinaryHeader {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint16_t header_bytes;
  std::uint64_t bytes;  // of all entries
};
constexpr std::uint32_t kFatBinaryMagic = 0xba55ed50;

// The PTX in it, which scripts/test-nvcc.mjs has left uncompressed; empty when there is none.
std::string ptx_in(const __fatBinC_Wrapper_t& wrapper) {
  if (wrapper.magic != FATBINC_MAGIC) return {};
  FatBinaryHeader header;
  std::memcpy(&header, wrapper.data, sizeof header);
  if (header.magic != kFatBinaryMagic) return {};
  const std::string_view all(reinterpret_cast<const char*>(wrapper.data) + header.header_bytes,
                             header.bytes);
  const std::size_t begin = all.find("\n.version ");
  if (begin == std::string_view::npos) return {};
  return std::string(all.substr(begin, all.find('\0', begin) - begin));
}

std::string plain_name(const char* mangled) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> plain(
      abi::__cxa_demangle(mangled, nullptr, nullptr, &status), &std::free);
  return plain == nullptr ? mangled : plain.get();
}

struct Registry {
  std::mutex mutex;
  std::deque<std::unique_ptr<ptx::Module>> binaries;  // null: one without PTX
  std::map<const void*, Kernel> kernels;
};

Registry& registry() {
  static Registry& instance = *new Registry();  // until the process ends
  return instance;
}

}  // namespace

const Kernel* find_kernel(const void* function) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  const auto found = all.kernels.find(function);
  return found == all.kernels.end() ? nullptr : &found->second;
}

}  // namespace alphamargin::emulated::cudart

namespace cudart = alphamargin::emulated::cudart;
namespace ptx = alphamargin::emulated::ptx;

extern "C" {

void** __cudaRegisterFatBinary(void* wrapper) {
  auto& all = cudart::registry();
  const std::lock_guard lock(all.mutex);
  std::string text = cudart::ptx_in(*static_cast<const __fatBinC_Wrapper_t*>(wrapper));
  const std::string name = "PTX " + std::to_string(all.binaries.size());
  all.binaries.push_back(text.empty() ? nullptr
                                      : std::make_unique<ptx::Module>(name, std::move(text)));
  return reinterpret_cast<void**>(&all.binaries.back());
}

void __cudaRegisterFatBinaryEnd(void**) {}
// When the process ends.
void __cudaUnregisterFatBinary(void**) {}
// Variables of kernels, which the addon's host code neither reads nor writes.
void __cudaRegisterVar(void**, char*, char*, const char*, int, std::size_t, int, int) {}

void __cudaRegisterFunction(void** binary, const char* function, char*, const char* entry, int,
                            uint3*, uint3*, dim3*, dim3*, int*) {
  auto& all = cudart::registry();
  const std::lock_guard lock(all.mutex);
  all.kernels[function] = {reinterpret_cast<std::unique_ptr<ptx::Module>*>(binary)->get(), entry,
                           cudart::plain_name(entry)};
}

cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = static_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}

}  // extern "C"
