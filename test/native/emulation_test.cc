// The emulated device, tested itself: what it must do as a GPU does. What it must catch is in
// emulation_mistakes_test.cc, the tensor cores and their kernels in emulation_tensor_cores_test.cc.
//
//   emulation_test --list | NAME

#include <algorithm>
#include <cmath>

#include "cuda/async_copy.cuh"
#include "cuda/block_reduce.cuh"
#include "cuda/head/sorted_list.cuh"
#include "cuda/primitives.h"
#include "cuda/short_exp.cuh"
#include "emulation_bench.h"

namespace alphamargin::emulated {
namespace {

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
}

__global__ void sort_kernel(Candidate* list, std::size_t count) {
  ALPHAMARGIN_SHARED(std::uint64_t, room, kSharedCandidates);
  sort_by_identity(list, count, room);
}

// Lists that fit shared memory and lists that do not, whole powers of two and others.
void test_sorted_lists() {
  for (const std::size_t count : {0, 1, 2, 3, 19, 111, 989, 2047, 2048, 2049, 4500}) {
    Bench bench;
    std::vector<Candidate> list(count);
    for (std::size_t i = 0; i < count; ++i) {
      // 4513 is prime: every identity once, in no order.
      const auto identity = static_cast<std::int32_t>((i + 1) * 1000 % 4513);
      list[i] = {identity, static_cast<float>(identity % 7) - 3};
    }
    auto device = bench.buffer(list);
    launch(bench.context, "sort_kernel", &sort_kernel, {1, 128}, device.data(), count);
    const auto sorted = bench.read(device);
    std::sort(list.begin(), list.end(), ByIdentity{});
    for (std::size_t i = 0; i < count; ++i) {
      expect(sorted[i].identity == list[i].identity && sorted[i].cosine == list[i].cosine,
             "list of " + std::to_string(count) + " at " + std::to_string(i));
    }
  }
}

void test_short_exp() {
  for (double x = -689.9; x <= 1; x += 0.0371) {
    expect(std::fabs(short_exp(x) / std::exp(x) - 1) <= 3e-7, "exp of " + std::to_string(x));
  }
  expect(short_exp(0) == 1, "exp of 0");
  expect(short_exp(-INFINITY) == 0 && short_exp(-700) == 0, "exp of what is far below");
}

void test_primitives() {
  Bench bench;
  WithSpare<std::uint32_t> keys(bench.context, bench.pool.account(), 6);
  WithSpare<std::uint64_t> values(bench.context, bench.pool.account(), 6);
  keys.own = bench.buffer(std::vector<std::uint32_t>{5, 1, 5, 0, 1, 9});
  values.own = bench.buffer(std::vector<std::uint64_t>{0, 1, 2, 3, 4, 5});
  sort_pairs(bench.context, bench.pool.account(), keys, values, 4);
  expect(bench.read(keys.own) == std::vector<std::uint32_t>({0, 1, 1, 5, 5, 9}), "sorted keys");
  expect(bench.read(values.own) == std::vector<std::uint64_t>({3, 1, 4, 0, 2, 5}), "sort");
  auto sums = bench.buffer<std::uint64_t>(6);
  exclusive_sum(bench.context, bench.pool.account(), keys.own.data(), sums.data(), 6);
  expect(bench.read(sums) == std::vector<std::uint64_t>({0, 0, 1, 2, 7, 12}), "scan");
  auto flags = bench.buffer(std::vector<std::uint8_t>{1, 0, 0, 1, 1, 0});
  auto chosen = bench.buffer<std::uint32_t>(6);
  auto count = bench.buffer<std::uint32_t>(1);
  select_indices(bench.context, bench.pool.account(), flags.data(), chosen.data(), count.data(), 6);
  const auto found = bench.read(chosen);
  expect(bench.read(count)[0] == 3 && found[0] == 0 && found[1] == 3 && found[2] == 4, "select");
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

// What a head without sparse rows has for their results: a buffer that no context made.
void test_empty_buffer() {
  DeviceBuffer<int> none;
  none.upload(nullptr);
  none.download(nullptr);
  none.fill_bytes(0);
  Bench bench;
  expect(bench.read(bench.buffer<int>(0)).empty(), "an empty buffer has contents");
}

test::Cases all_cases() {
  test::Cases cases = {
      {"thread and block indices", &test_indices},
      {"warp operations", &test_warp},
      {"atomics", &test_atomics},
      {"block reductions", &test_reductions},
      {"cp.async arrives at the wait", &test_async},
      {"half", &test_half},
      {"exp to the digits of float32", &test_short_exp},
      {"lists sorted by identity", &test_sorted_lists},
      {"sort, scan, select", &test_primitives},
      {"empty buffers", &test_empty_buffer},
      {"a missing synchronisation", &test_missing_synchronize},
      {"memory that runs out", &test_out_of_memory},
  };
  for (const test::Cases* more : {&kHopperCases, &kTensorCoreCases, &kProductCases, &kTransferCases,
                                  &kMistakeCases, &kPtxCases}) {
    cases.insert(cases.end(), more->begin(), more->end());
  }
  return cases;
}

}  // namespace
}  // namespace alphamargin::emulated

int main(int count, char** arguments) {
  return alphamargin::test::run_cases(alphamargin::emulated::all_cases(), count, arguments);
}
