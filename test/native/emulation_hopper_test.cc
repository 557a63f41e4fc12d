// What works beside the threads on Hopper: tiles, phase barriers, products of a warpgroup,
// clusters; and the mistakes with them that the emulated device must catch.

#include "cuda/head/filter_operands.cuh"
#include "cuda/head/prototype_row.cuh"
#include "cuda/tile_map.h"
#include "emulation_bench.h"

namespace alphamargin::emulated {
namespace {

constexpr unsigned kRows = kWarpgroupRows;
constexpr unsigned kColumns = kWarpgroupColumns;
constexpr std::size_t kDepthBytes = 160;  // one slab of 128 and a part of another
constexpr std::size_t kSlabs = 2;
constexpr std::size_t kRowSlab = kRows * kTileRow;
constexpr std::size_t kColumnSlab = kColumns * kTileRow;
constexpr std::size_t kBarrierPlace = kSlabs * (kRowSlab + kColumnSlab);
constexpr std::size_t kSharedBytes = kBarrierPlace + sizeof(PhaseBarrier);

enum class Mistake { kNone, kNoPhase, kNoProductWait, kTooManyBytes, kOtherLanes };

// One warpgroup: rows [64, depth] · columns [256, depth]ᵀ.
template <class Operands>
__global__ void product_kernel(const __grid_constant__ TileMap rows,
                               const __grid_constant__ TileMap columns, typename Operands::Sum* out,
                               std::size_t mistake_number) {
  ALPHAMARGIN_DYNAMIC_SHARED(unsigned char, shared);
  const auto mistake = static_cast<Mistake>(mistake_number);
  auto* const barrier = reinterpret_cast<PhaseBarrier*>(shared + kBarrierPlace);
  unsigned char* const column_tiles = shared + kSlabs * kRowSlab;
  if (threadIdx.x == 0) {
    init_barrier(barrier, 1);
    barriers_are_initialised();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    const std::size_t bytes = kSlabs * (kRowSlab + kColumnSlab);
    arrive_expecting(barrier, static_cast<std::uint32_t>(
                                  mistake == Mistake::kTooManyBytes ? bytes + kTileRow : bytes));
    for (std::size_t slab = 0; slab < kSlabs; ++slab) {
      copy_tile(shared + slab * kRowSlab, rows, slab * kTileRow, 0, barrier);
      copy_tile(column_tiles + slab * kColumnSlab, columns, slab * kTileRow, 0, barrier);
    }
  }
  if (mistake != Mistake::kNoPhase) wait_phase(barrier, 0);
  typename Operands::Sum sums[kWarpgroupSums] = {};
  warpgroup_begin();
  for (std::size_t step = 0; step < kDepthBytes / kWarpgroupDepthBytes; ++step) {
    const std::size_t slab = step / 4;
    const std::size_t within = step % 4 * kWarpgroupDepthBytes;
    const bool is_other = mistake == Mistake::kOtherLanes && threadIdx.x == 40;
    Operands::multiply(sums, warpgroup_operand(shared + slab * kRowSlab + within),
                       warpgroup_operand(column_tiles + slab * kColumnSlab + within),
                       step > 0 && !is_other);
  }
  warpgroup_commit();
  if (mistake != Mistake::kNoProductWait) warpgroup_wait<0>();
  const unsigned lane = threadIdx.x % kWarpSize;
  for (unsigned i = 0; i < kWarpgroupSums; ++i) {
    const unsigned row = threadIdx.x / kWarpSize * 16 + lane / 4 + 8 * (i / 2 % 2);
    out[row * kColumns + 8 * (i / 4) + 2 * (lane % 4) + i % 2] = sums[i];
  }
  warpgroup_wait<0>();
  wait_phase(barrier, 0);
}

// Whole numbers, whose products are exact in any order.
int row_element(std::size_t i) { return static_cast<int>(i * 37 % 101) - 50; }
int column_element(std::size_t i) { return static_cast<int>(i * 53 % 97) - 48; }

template <class Element>
Element converted(int value);
template <>
__half converted(int value) {
  return __float2half_rn(static_cast<float>(value));
}
template <>
std::uint16_t converted(int value) {
  return upper_half(static_cast<float>(value));
}
template <>
std::int8_t converted(int value) {
  return static_cast<std::int8_t>(value);
}

template <class Operands, class Element>
std::vector<typename Operands::Sum> run_product(Bench& bench, Mistake mistake) {
  constexpr std::size_t kDepth = kDepthBytes / sizeof(Element);
  std::vector<Element> rows(kRows * kDepth);
  std::vector<Element> columns(kColumns * kDepth);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = converted<Element>(row_element(i));
  for (std::size_t i = 0; i < columns.size(); ++i) {
    columns[i] = converted<Element>(column_element(i));
  }
  auto device_rows = bench.buffer(rows);
  auto device_columns = bench.buffer(columns);
  auto out = bench.buffer<typename Operands::Sum>(kRows * kColumns);
  launch(bench.context, "product_kernel", &product_kernel<Operands>, {1, 128, kSharedBytes},
         tile_map(device_rows.data(), kRows, kDepthBytes, kRows),
         tile_map(device_columns.data(), kColumns, kDepthBytes, kColumns), out.data(),
         static_cast<std::size_t>(mistake));
  return bench.read(out);
}
std::vector<float> run_product(Bench& bench, Mistake mistake) {
  return run_product<HalfOperands, __half>(bench, mistake);
}

template <class Operands, class Element>
void check_product() {
  constexpr std::size_t kDepth = kDepthBytes / sizeof(Element);
  Bench bench;
  const auto found = run_product<Operands, Element>(bench, Mistake::kNone);
  for (std::size_t row = 0; row < kRows; ++row) {
    for (std::size_t column = 0; column < kColumns; ++column) {
      int sum = 0;
      for (std::size_t k = 0; k < kDepth; ++k) {
        sum += row_element(row * kDepth + k) * column_element(column * kDepth + k);
      }
      expect(found[row * kColumns + column] == static_cast<typename Operands::Sum>(sum),
             "an element of the product");
    }
  }
}

void test_product() {
  for (const std::uint64_t seed : {0, 1, 2, 3, 7}) {
    DeviceSettings settings;
    settings.seed = seed;
    configure_device(settings);
    check_product<HalfOperands, __half>();
    check_product<UpperOperands, std::uint16_t>();
    check_product<Int8Operands, std::int8_t>();
  }
  configure_device({});
}

void test_early_reads() {
  expect(depends_on_order([](Bench& bench) { return run_product(bench, Mistake::kNoPhase); }),
         "operands that were read before they had arrived were not caught");
  Bench bench;
  const auto early = run_product(bench, Mistake::kNoProductWait);
  const auto right = run_product(bench, Mistake::kNone);
  expect(early != right, "sums that were read before they were there were not caught");
}

void test_misuse() {
  const auto fault_of = [](Mistake mistake) {
    return [mistake] {
      Bench bench;
      run_product(bench, mistake);
    };
  };
  expect_fault(fault_of(Mistake::kTooManyBytes),
               {"product_kernel", "mbarrier.try_wait", "what does not happen"});
  expect_fault(fault_of(Mistake::kOtherLanes), {"product_kernel", "different products"});
}

// Each block of a cluster gives both a half of a tile.
__global__ void cluster_kernel(const __grid_constant__ TileMap map, float* out) {
  ALPHAMARGIN_DYNAMIC_SHARED(unsigned char, shared);
  constexpr std::size_t kHalf = 8 * kTileRow;
  auto* const barrier = reinterpret_cast<PhaseBarrier*>(shared + 2 * kHalf);
  if (threadIdx.x == 0) {
    init_barrier(barrier, 1);
    barriers_are_initialised();
  }
  __syncwarp();
  cluster_sync();
  const unsigned rank = cluster_rank();
  if (threadIdx.x == 0) {
    arrive_expecting(barrier, 2 * kHalf);
    copy_tile<2>(shared + rank * kHalf, map, 0, 8 * rank, barrier);
  }
  wait_phase(barrier, 0);
  for (std::size_t i = threadIdx.x; i < 16 * 64; i += blockDim.x) {
    const std::uint32_t place = swizzled_address(static_cast<std::uint32_t>(2 * i));
    out[blockIdx.x * 16 * 64 + i] = __half2float(*reinterpret_cast<__half*>(shared + place));
  }
  __syncwarp();
  cluster_sync();
}

// A block returns that another still arrives at.
__global__ void leaving_kernel() {
  ALPHAMARGIN_DYNAMIC_SHARED(PhaseBarrier, barriers);
  init_barrier(barriers, 1);
  cluster_sync();
  if (cluster_rank() == 0) wait_phase(barriers, 0);
  arrive_at(barriers, 1 - cluster_rank());
}

void test_cluster() {
  Bench bench;
  std::vector<__half> values(16 * 64);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = __float2half_rn(static_cast<float>(i % 1001));
  }
  auto device_values = bench.buffer(values);
  auto out = bench.buffer<float>(6 * 16 * 64);
  const auto run = [&](unsigned blocks) {
    launch(bench.context, "cluster_kernel", &cluster_kernel,
           {blocks, 32, 16 * kTileRow + sizeof(PhaseBarrier), 2},
           tile_map(device_values.data(), 16, kTileRow, 8), out.data());
    return bench.read(out);
  };
  const auto found = run(6);
  for (std::size_t i = 0; i < found.size(); ++i) {
    expect(found[i] == static_cast<float>(i % (16 * 64) % 1001), "an element of a tile");
  }
  expect_fault([&] { run(5); }, {"cluster_kernel", "whole clusters"});
  expect_fault(
      [&] {
        launch(bench.context, "leaving_kernel", &leaving_kernel, {2, 1, sizeof(PhaseBarrier), 2});
        bench.context.synchronize();
      },
      {"leaving_kernel", "a block that has returned"});
}

__global__ void barrier_mistake_kernel(std::size_t mistake) {
  ALPHAMARGIN_DYNAMIC_SHARED(PhaseBarrier, barriers);
  if (mistake != 0) init_barrier(barriers, 1);
  if (mistake == 2) {
    arrive_at(barriers, 0);
    arrive_at(barriers, 0);  // the next phase is over too, and nothing tells it from none
  }
  wait_phase(barriers, 0);
}

void test_barrier_mistakes() {
  Bench bench;
  const auto fault_of = [&](std::size_t mistake) {
    return [&bench, mistake] {
      launch(bench.context, "barrier_mistake_kernel", &barrier_mistake_kernel,
             {1, 1, sizeof(PhaseBarrier)}, mistake);
      bench.context.synchronize();
    };
  };
  expect_fault(fault_of(0), {"barrier_mistake_kernel", "not initialised"});
  expect_fault(fault_of(1), {"barrier_mistake_kernel", "what does not happen"});
  expect_fault(fault_of(2), {"barrier_mistake_kernel", "what does not happen"});
}

}  // namespace

const test::Cases kHopperCases = {
    {"product of a warpgroup", test_product},  {"asynchronous reads", test_early_reads},
    {"warpgroup mistakes", test_misuse},       {"cluster", test_cluster},
    {"phase barriers", test_barrier_mistakes},
};

}  // namespace alphamargin::emulated
