// The emulated device, tested itself: what it must do as a GPU does, and the mistakes it must
// catch.
//
//   emulation_test --list | NAME
//
// Cases named "asan …" make a mistake that only AddressSanitizer sees; they are for its build,
// where the report ends the process.

#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "cases.h"
#include "cuda/async_copy.cuh"
#include "cuda/block_reduce.cuh"
#include "cuda/launch.h"
#include "cuda/primitives.h"
#include "cuda/warp_mma.cuh"

namespace alphamargin::emulated {
namespace {

using test::expect;

struct Bench {
  DevicePool pool{0};
  DeviceContext context{pool};
  template <class T>
  DeviceBuffer<T> buffer(std::size_t count) {
    return DeviceBuffer<T>(context, pool.account(), count);
  }
  template <class T>
  DeviceBuffer<T> buffer(const std::vector<T>& values) {
    DeviceBuffer<T> made = buffer<T>(values.size());
    made.upload(values.data());
    context.synchronize();
    return made;
  }
  template <class T>
  std::vector<T> read(const DeviceBuffer<T>& values) {
    std::vector<T> host(values.size());
    values.download(host.data());
    context.synchronize();
    return host;
  }
};

// The message of the failure of a call, or a complaint that there was none.
std::string failure_of(const std::function<void()>& call, FailureCode code) {
  try {
    call();
  } catch (const Failure& failure) {
    expect(failure.code() == code, std::string("another code: ") + failure.what());
    return failure.what();
  }
  throw std::runtime_error("nothing was caught");
}

void expect_fault(const std::function<void()>& call, const std::vector<std::string>& parts) {
  const std::string message = failure_of(call, FailureCode::kDevice);
  for (const std::string& part : parts) {
    expect(message.find(part) != std::string::npos, "'" + message + "' lacks '" + part + "'");
  }
}

// Whether the bytes that come back depend on the order of execution or on uninitialised memory.
bool depends_on_order(const std::function<std::vector<float>(Bench&)>& run) {
  std::vector<std::vector<float>> results;
  for (const std::uint64_t seed : {0, 1, 2, 3, 7}) {
    DeviceSettings settings;
    settings.seed = seed;
    configure_device(settings);
    Bench bench;
    results.push_back(run(bench));
  }
  configure_device({});
  for (const auto& result : results) {
    if (std::memcmp(result.data(), results[0].data(), result.size() * sizeof(float)) != 0) {
      return true;
    }
  }
  return false;
}

__global__ void index_kernel(float* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  out[block * threads + thread] = static_cast<float>(block * threads + thread);
}

void test_indices() {
  expect(!depends_on_order([](Bench& bench) {
    auto out = bench.buffer<float>(2 * 3 * 4 * 64);
    launch(bench.context, "index_kernel", &index_kernel, {dim3(2, 3, 4), dim3(4, 8, 2)},
           out.data());
    const auto values = bench.read(out);
    for (std::size_t i = 0; i < values.size(); ++i) {
      expect(values[i] == static_cast<float>(i), "a thread has a wrong index");
    }
    return values;
  }),
         "indices depend on the order");
}

__global__ void warp_kernel(int* out) {
  const unsigned lane = threadIdx.x % 32;
  const int value = static_cast<int>(100 + lane);
  int* own = out + threadIdx.x * 10;
  own[0] = __shfl_sync(kFullMask, value, 5);
  own[1] = __shfl_xor_sync(kFullMask, value, 3);
  own[2] = __shfl_down_sync(kFullMask, value, 4);
  own[3] = __shfl_up_sync(kFullMask, value, 4);
  own[4] = __shfl_xor_sync(kFullMask, value, 1, 8);
  own[5] = static_cast<int>(__ballot_sync(kFullMask, lane % 3 == 0));
  own[6] = __any_sync(kFullMask, lane == 31) + 2 * __all_sync(kFullMask, lane < 31);
  own[7] = static_cast<int>(__match_any_sync(kFullMask, lane / 8));
  // Halves of a warp on their own.
  const unsigned half = lane < 16 ? 0x0000ffffu : 0xffff0000u;
  own[8] = __shfl_sync(half, value, lane < 16 ? 2 : 18);
  own[9] = __shfl_down_sync(kFullMask, value, 6, 8);
}

void test_warp() {
  Bench bench;
  auto out = bench.buffer<int>(640);
  launch(bench.context, "warp_kernel", &warp_kernel, {1, 64}, out.data());
  const auto values = bench.read(out);
  for (int thread = 0; thread < 64; ++thread) {
    const int lane = thread % 32;
    const int* own = values.data() + thread * 10;
    const int expected[] = {105,
                            100 + (lane ^ 3),
                            100 + (lane + 4 < 32 ? lane + 4 : lane),
                            100 + (lane >= 4 ? lane - 4 : lane),
                            100 + (lane ^ 1),
                            0x49249249,
                            1,
                            static_cast<int>(0xffu << (lane / 8 * 8)),
                            lane < 16 ? 102 : 118,
                            100 + (lane % 8 + 6 < 8 ? lane + 6 : lane)};
    for (int i = 0; i < 10; ++i) {
      expect(own[i] == expected[i], "operation " + std::to_string(i) + ", lane " +
                                        std::to_string(lane) + ": " + std::to_string(own[i]));
    }
  }
}

__global__ void atomics_kernel(unsigned* counters) {
  atomicAdd(&counters[0], 1u);
  atomicMax(&counters[1], threadIdx.x);
  atomicMin(&counters[2], threadIdx.x);
  atomicOr(&counters[3], 1u << threadIdx.x % 32);
}

void test_atomics() {
  Bench bench;
  auto counters = bench.buffer(std::vector<unsigned>{0, 0, 999, 0});
  launch(bench.context, "atomics_kernel", &atomics_kernel, {5, 96}, counters.data());
  expect(bench.read(counters) == std::vector<unsigned>({480, 95, 0, 0xffffffffu}), "atomics");
}

__global__ void reduce_kernel(const double* values, double* out) {
  const double sum = block_sum(values[threadIdx.x]);
  const double largest = block_largest(values[threadIdx.x]);
  const BlockOffsets offsets = block_offsets(threadIdx.x % 3);
  out[3 * threadIdx.x] = sum;
  out[3 * threadIdx.x + 1] = largest;
  out[3 * threadIdx.x + 2] = offsets.before + 1000.0 * offsets.total;
}

void test_reductions() {
  Bench bench;
  std::vector<double> values(96);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i * 7 % 96);
  auto input = bench.buffer(values);
  auto out = bench.buffer<double>(3 * 96);
  launch(bench.context, "reduce_kernel", &reduce_kernel, {1, 96}, input.data(), out.data());
  const auto found = bench.read(out);
  double before = 0;
  for (std::size_t i = 0; i < 96; ++i) {
    expect(found[3 * i] == 96 * 95 / 2 && found[3 * i + 1] == 95, "sum or largest");
    expect(found[3 * i + 2] == before + 1000 * 96, "offsets");
    before += static_cast<double>(i % 3);
  }
}

__global__ void mma_kernel(const __half* a, const __half* b, float* c) {
  struct alignas(16) Tile {
    __half values[16 * 24];
  };
  ALPHAMARGIN_SHARED(Tile, tiles, 2);
  // Rows of 16 halves, 8 of padding; b as [8 columns][16 k], twice, so that ldmatrix.x4 fits.
  for (unsigned i = threadIdx.x; i < 256; i += 32) {
    tiles[0].values[i / 16 * 24 + i % 16] = a[i];
    tiles[1].values[i / 16 * 24 + i % 16] = b[i % 128];
  }
  __syncwarp();
  const unsigned lane = threadIdx.x;
  MmaA fragment;
  load_matrices(fragment.pairs, tiles[0].values + lane % 16 * 24 + lane / 16 * 8);
  std::uint32_t pairs[4];
  load_matrices(pairs, tiles[1].values + (lane % 8 + lane / 16 * 8) * 24 + lane / 8 % 2 * 8);
  float sums[4] = {1, 2, 3, 4};
  mma_m16n8k16(sums, fragment, MmaB{{pairs[0], pairs[1]}});
  for (unsigned e = 0; e < 4; ++e) {
    c[(lane / 4 + 8 * (e / 2)) * 8 + 2 * (lane % 4) + e % 2] = sums[e];
  }
}

void test_mma() {
  Bench bench;
  std::vector<__half> a(256);
  std::vector<__half> b(128);  // [column][k]
  for (std::size_t i = 0; i < 256; ++i) a[i] = __float2half_rn(static_cast<float>(i % 13) - 6);
  for (std::size_t i = 0; i < 128; ++i) b[i] = __float2half_rn(static_cast<float>(i % 7) / 8);
  auto device_a = bench.buffer(a);
  auto device_b = bench.buffer(b);
  auto c = bench.buffer<float>(128);
  launch(bench.context, "mma_kernel", &mma_kernel, {1, 32}, device_a.data(), device_b.data(),
         c.data());
  const auto found = bench.read(c);
  for (std::size_t row = 0; row < 16; ++row) {
    for (std::size_t column = 0; column < 8; ++column) {
      float sum = static_cast<float>(1 + column % 2 + 2 * (row / 8));
      for (std::size_t k = 0; k < 16; ++k) {
        sum += __half2float(a[row * 16 + k]) * __half2float(b[column * 16 + k]);
      }
      expect(found[row * 8 + column] == sum, "an element of the product");
    }
  }
}

__global__ void async_kernel(const float* source, float* out) {
  struct alignas(16) Row {
    float values[4];
  };
  ALPHAMARGIN_SHARED(Row, rows, 32);
  for (float& value : rows[threadIdx.x].values) value = -1;
  copy_async16(&rows[threadIdx.x], source + 4 * threadIdx.x);
  copy_async_commit();
  // Nothing may have arrived yet; a kernel that reads now is wrong.
  out[threadIdx.x] = rows[threadIdx.x].values[3];
  copy_async_wait<0>();
  out[32 + threadIdx.x] = rows[threadIdx.x].values[3];
}

void test_async() {
  Bench bench;
  std::vector<float> values(128);
  for (std::size_t i = 0; i < 128; ++i) values[i] = static_cast<float>(i);
  auto source = bench.buffer(values);
  auto out = bench.buffer<float>(64);
  launch(bench.context, "async_kernel", &async_kernel, {1, 32}, source.data(), out.data());
  const auto found = bench.read(out);
  for (std::size_t i = 0; i < 32; ++i) {
    expect(found[i] == -1 && found[32 + i] == static_cast<float>(4 * i + 3), "cp.async");
  }
}

void test_half() {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const __half half{static_cast<std::uint16_t>(bits)};
    const float value = __half2float(half);
    const unsigned exponent = bits >> 10 & 31;
    const unsigned mantissa = bits & 1023;
    const double magnitude = exponent == 0
                                 ? std::ldexp(mantissa, -24)
                                 : std::ldexp(1024.0 + mantissa, static_cast<int>(exponent) - 25);
    if (exponent == 31) {
      expect(mantissa == 0 ? std::isinf(value) : std::isnan(value), "infinity or NaN");
      continue;
    }
    expect(value == ((bits & 0x8000) != 0 ? -magnitude : magnitude), "a half's value");
    expect(__float2half_rn(value).bits == bits, "a half does not come back");
  }
  // Ties to even, underflow, overflow.
  expect(__float2half_rn(1 + 0x1p-11f).bits == 0x3c00, "tie down");
  expect(__float2half_rn(1 + 3 * 0x1p-11f).bits == 0x3c02, "tie up");
  expect(__float2half_rn(0x1p-25f).bits == 0 && __float2half_rn(0x1.8p-25f).bits == 1, "subnormal");
  expect(__float2half_rn(65520).bits == 0x7c00, "overflow");
  expect(__float2bfloat16_rn(1 + 0x1p-8f).bits == 0x3f80, "bfloat16 tie");
  expect(__float2bfloat16_rn(1 + 3 * 0x1p-8f).bits == 0x3f82, "bfloat16 tie up");
}

void test_primitives() {
  Bench bench;
  auto keys = bench.buffer(std::vector<std::uint32_t>{5, 1, 5, 0, 1, 9});
  auto values = bench.buffer(std::vector<std::uint64_t>{0, 1, 2, 3, 4, 5});
  auto sorted_keys = bench.buffer<std::uint32_t>(6);
  auto sorted = bench.buffer<std::uint64_t>(6);
  sort_pairs(bench.context, bench.pool.account(), keys.data(), sorted_keys.data(), values.data(),
             sorted.data(), 6, 4);
  expect(bench.read(sorted) == std::vector<std::uint64_t>({3, 1, 4, 0, 2, 5}), "sort");
  auto sums = bench.buffer<std::uint64_t>(6);
  exclusive_sum(bench.context, bench.pool.account(), keys.data(), sums.data(), 6);
  expect(bench.read(sums) == std::vector<std::uint64_t>({0, 5, 6, 11, 11, 12}), "scan");
  auto flags = bench.buffer(std::vector<std::uint8_t>{1, 0, 0, 1, 1, 0});
  auto chosen = bench.buffer<std::uint32_t>(6);
  auto count = bench.buffer<std::uint32_t>(1);
  select_indices(bench.context, bench.pool.account(), flags.data(), chosen.data(), count.data(), 6);
  const auto found = bench.read(chosen);
  expect(bench.read(count)[0] == 3 && found[0] == 0 && found[1] == 3 && found[2] == 4, "select");
}

// A neighbour's value is read without a barrier after it was written.
__global__ void race_kernel(float* out) {
  ALPHAMARGIN_SHARED(float, values, 64);
  values[threadIdx.x] = static_cast<float>(threadIdx.x);
  out[threadIdx.x] = values[(threadIdx.x + 1) % 64];
}

void test_planted_race() {
  expect(depends_on_order([](Bench& bench) {
           auto out = bench.buffer<float>(64);
           launch(bench.context, "race_kernel", &race_kernel, {1, 64}, out.data());
           return bench.read(out);
         }),
         "a missing __syncthreads was not caught");
}

// The last block to arrive decides.
__global__ void block_race_kernel(float* out) { *out = static_cast<float>(blockIdx.x); }

void test_planted_block_race() {
  expect(depends_on_order([](Bench& bench) {
           auto out = bench.buffer<float>(1);
           launch(bench.context, "block_race_kernel", &block_race_kernel, {50, 32}, out.data());
           return bench.read(out);
         }),
         "a race between blocks was not caught");
}

__global__ void uninitialised_kernel(float* out) {
  ALPHAMARGIN_SHARED(float, values, 32);
  if (threadIdx.x != 7) values[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x];
}

void test_planted_uninitialised() {
  expect(depends_on_order([](Bench& bench) {
           auto out = bench.buffer<float>(32);
           launch(bench.context, "uninitialised_kernel", &uninitialised_kernel, {1, 32},
                  out.data());
           return bench.read(out);
         }),
         "uninitialised shared memory was not caught");
  expect(depends_on_order([](Bench& bench) { return bench.read(bench.buffer<float>(8)); }),
         "uninitialised device memory was not caught");
}

__global__ void divergent_kernel(float* out) {
  if (threadIdx.x < 32) {
    __syncthreads();
    out[0] = 1;
  } else {
    __syncthreads();
    out[1] = 1;
  }
}
__global__ void early_return_kernel(float* out) {
  if (threadIdx.x == 5) return;
  __syncthreads();
  out[threadIdx.x] = 1;
}
__global__ void missing_lanes_kernel(float* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_xor_sync(kFullMask, 1.0f, 1);
  __syncthreads();
}
__global__ void mixed_operations_kernel(float* out) {
  if (threadIdx.x < 16) {
    out[threadIdx.x] = __shfl_xor_sync(kFullMask, 1.0f, 1);
  } else {
    __syncwarp();
  }
}

void test_planted_divergence() {
  Bench bench;
  auto out = bench.buffer<float>(64);
  const auto fault_of = [&](const char* name, void (*kernel)(float*)) {
    return [&bench, &out, name, kernel] {
      launch(bench.context, name, kernel, {1, 64}, out.data());
      bench.context.synchronize();
    };
  };
  expect_fault(fault_of("divergent_kernel", &divergent_kernel),
               {"divergent_kernel", "divergent barrier", "emulation_test.cc:"});
  expect_fault(fault_of("early_return_kernel", &early_return_kernel),
               {"early_return_kernel", "divergent barrier", "thread 5", "returned"});
  expect_fault(fault_of("missing_lanes_kernel", &missing_lanes_kernel),
               {"missing_lanes_kernel", "__shfl_xor_sync", "do not arrive"});
  expect_fault(fault_of("mixed_operations_kernel", &mixed_operations_kernel),
               {"mixed_operations_kernel", "__syncwarp", "__shfl_xor_sync"});
  // The device goes on.
  launch(bench.context, "index_kernel", &index_kernel, {1, 64}, out.data());
  expect(bench.read(out)[63] == 63, "a launch after a fault");
}

__global__ void write_kernel(float* out, std::size_t place) { out[place] = 1; }
__global__ void write_shared_kernel(float* out, std::size_t place) {
  ALPHAMARGIN_SHARED(float, values, 32);
  float* const all = values;
  all[place] = 1;
  out[0] = all[0];
}
__global__ void write_dynamic_kernel(std::size_t place) {
  ALPHAMARGIN_DYNAMIC_SHARED(float, values);
  values[place] = 1;
}

void test_planted_out_of_bounds() {
  Bench bench;
  auto out = bench.buffer<float>(10);
  expect_fault(
      [&] {
        launch(bench.context, "write_kernel", &write_kernel, {1, 1}, out.data(), 10);
        bench.context.synchronize();
      },
      {"write_kernel", "beyond the end of 40 bytes of device memory"});
  expect_fault(
      [&] {
        launch(bench.context, "write_shared_kernel", &write_shared_kernel, {1, 1}, out.data(), 33);
        bench.context.synchronize();
      },
      {"write_shared_kernel", "shared array of 128 bytes"});
  expect_fault(
      [&] {
        launch(bench.context, "write_dynamic_kernel", &write_dynamic_kernel, {1, 1, 64}, 16);
        bench.context.synchronize();
      },
      {"write_dynamic_kernel", "64 bytes of dynamic shared memory"});
}

struct Wrapped {
  std::size_t count;
  float* values;
};
__global__ void wrapped_kernel(Wrapped argument) { argument.values[0] = 1; }

void test_host_pointer() {
  Bench bench;
  std::vector<float> host(8);
  expect_fault(
      [&] {
        launch(bench.context, "write_kernel", &write_kernel, {1, 1}, host.data(), 0);
        bench.context.synchronize();
      },
      {"write_kernel", "host memory"});
  expect_fault(
      [&] {
        launch(bench.context, "wrapped_kernel", &wrapped_kernel, {1, 1}, Wrapped{8, host.data()});
        bench.context.synchronize();
      },
      {"wrapped_kernel", "host memory"});
  expect(host[0] == 0, "the kernel ran all the same");
}

void test_freed_memory() {
  Bench bench;
  float* freed = nullptr;
  {
    auto gone = bench.buffer<float>(8);
    freed = gone.data();
  }
  bench.context.synchronize();
  expect_fault(
      [&] {
        launch(bench.context, "write_kernel", &write_kernel, {1, 1}, freed, 0);
        bench.context.synchronize();
      },
      {"write_kernel"});
  expect_fault(
      [&] {
        cudaFreeAsync(freed, bench.context.stream());
        bench.context.synchronize();
      },
      {"not allocated"});
}

void test_missing_synchronize() {
  Bench bench;
  auto out = bench.buffer<float>(64);
  std::vector<float> early(64, -1);
  launch(bench.context, "index_kernel", &index_kernel, {1, 64}, out.data());
  out.download(early.data());
  expect(early[63] == -1, "a download arrived before anything waited for it");
  bench.context.synchronize();
  expect(early[63] == 63, "a download did not arrive");
}

void test_out_of_memory() {
  DeviceSettings settings;
  settings.memory_bytes = 1000;
  configure_device(settings);
  Bench bench;
  auto some = bench.buffer<char>(600);
  const std::string message =
      failure_of([&] { bench.buffer<char>(401); }, FailureCode::kOutOfMemory);
  expect(message.find("401 bytes") != std::string::npos &&
             message.find("400 of 1000 bytes are free") != std::string::npos,
         message);
  auto rest = bench.buffer<char>(400);
  expect(bench.pool.account().current() == 1000, "bytes in use");
  configure_device({});
}

__global__ void read_kernel(const float* values, std::size_t place, float* out) {
  *out = values[place];
}

void asan_read_beyond() {
  Bench bench;
  auto values = bench.buffer(std::vector<float>(10));
  auto out = bench.buffer<float>(1);
  launch(bench.context, "read_kernel", &read_kernel, {1, 1}, values.data(), 10, out.data());
  bench.context.synchronize();
}

void asan_shared_beyond() {
  Bench bench;
  auto out = bench.buffer<float>(1);
  launch(bench.context, "write_shared_kernel", &write_shared_kernel, {1, 1}, out.data(), 32);
  bench.context.synchronize();
}

__global__ void follow_kernel(const std::uint64_t* address, float* out) {
  *out = *reinterpret_cast<const float*>(*address);
}

// What a head without sparse rows has for their results: a buffer that no context made.
void test_empty_buffer() {
  DeviceBuffer<int> none;
  none.upload(nullptr);
  none.download(nullptr);
  none.fill_bytes(0);
  Bench bench;
  expect(bench.read(bench.buffer<int>(0)).empty(), "an empty buffer has contents");
}

// A stale address that no argument shows.
void asan_freed() {
  Bench bench;
  std::uint64_t address = 0;
  {
    auto gone = bench.buffer(std::vector<float>(10));
    address = reinterpret_cast<std::uint64_t>(gone.data());
  }
  bench.context.synchronize();
  auto out = bench.buffer<float>(1);
  auto hidden = bench.buffer(std::vector<std::uint64_t>{address});
  launch(bench.context, "follow_kernel", &follow_kernel, {1, 1}, hidden.data(), out.data());
  bench.context.synchronize();
}

const test::Cases kCases = {
    {"thread and block indices", &test_indices},
    {"warp operations", &test_warp},
    {"atomics", &test_atomics},
    {"block reductions", &test_reductions},
    {"mma and ldmatrix", &test_mma},
    {"cp.async arrives at the wait", &test_async},
    {"half and bfloat16", &test_half},
    {"sort, scan, select", &test_primitives},
    {"a planted race of threads", &test_planted_race},
    {"a planted race of blocks", &test_planted_block_race},
    {"planted reads of uninitialised memory", &test_planted_uninitialised},
    {"planted divergent barriers", &test_planted_divergence},
    {"planted writes out of bounds", &test_planted_out_of_bounds},
    {"empty buffers", &test_empty_buffer},
    {"host pointers", &test_host_pointer},
    {"freed memory", &test_freed_memory},
    {"a missing synchronisation", &test_missing_synchronize},
    {"memory that runs out", &test_out_of_memory},
    {"asan: a read beyond the end", &asan_read_beyond},
    {"asan: a write beyond a shared array", &asan_shared_beyond},
    {"asan: a freed address", &asan_freed},
};

}  // namespace
}  // namespace alphamargin::emulated

int main(int count, char** arguments) {
  return alphamargin::test::run_cases(alphamargin::emulated::kCases, count, arguments);
}
