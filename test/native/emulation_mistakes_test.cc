// The mistakes that the emulated device must catch. Cases named "asan …" make one that only
// AddressSanitizer sees; they are for its build, where the report ends the process.

#include "emulation_bench.h"

namespace alphamargin::emulated {
namespace {

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
               {"divergent_kernel", "divergent barrier", "emulation_mistakes_test.cc:"});
  expect_fault(fault_of("early_return_kernel", &early_return_kernel),
               {"early_return_kernel", "divergent barrier", "thread 5", "returned"});
  expect_fault(fault_of("missing_lanes_kernel", &missing_lanes_kernel),
               {"missing_lanes_kernel", "__shfl_xor_sync", "do not arrive"});
  expect_fault(fault_of("mixed_operations_kernel", &mixed_operations_kernel),
               {"mixed_operations_kernel", "__syncwarp", "__shfl_xor_sync"});
  // The device goes on.
  launch(bench.context, "block_race_kernel", &block_race_kernel, {8, 64}, out.data());
  expect(bench.read(out)[0] == 7, "a launch after a fault");
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
      {"write_shared_kernel", "beyond the end of a shared array of 128 bytes"});
  const auto before = static_cast<std::size_t>(-1);
  expect_fault(
      [&] {
        launch(bench.context, "write_shared_kernel", &write_shared_kernel, {1, 1}, out.data(),
               before);
        bench.context.synchronize();
      },
      {"write_shared_kernel", "beyond the start of a shared array of 128 bytes"});
  expect_fault(
      [&] {
        launch(bench.context, "write_dynamic_kernel", &write_dynamic_kernel, {1, 1, 64}, before);
        bench.context.synchronize();
      },
      {"write_dynamic_kernel", "beyond the start of 64 bytes of dynamic shared memory"});
  expect_fault(
      [&] {
        launch(bench.context, "write_dynamic_kernel", &write_dynamic_kernel, {1, 1, 64}, 16);
        bench.context.synchronize();
      },
      {"write_dynamic_kernel", "beyond the end of 64 bytes of dynamic shared memory"});
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
}  // namespace

const test::Cases kMistakeCases = {
    {"a planted race of threads", &test_planted_race},
    {"a planted race of blocks", &test_planted_block_race},
    {"planted reads of uninitialised memory", &test_planted_uninitialised},
    {"planted divergent barriers", &test_planted_divergence},
    {"planted writes out of bounds", &test_planted_out_of_bounds},
    {"host pointers", &test_host_pointer},
    {"freed memory", &test_freed_memory},
    {"asan: a read beyond the end", &asan_read_beyond},
    {"asan: a write beyond a shared array", &asan_shared_beyond},
    {"asan: a freed address", &asan_freed},
};

}  // namespace alphamargin::emulated
