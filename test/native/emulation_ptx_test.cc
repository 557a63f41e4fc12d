// The interpreter of PTX: results of instructions as the PTX manual gives them, and the mistakes
// that it must catch.

#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "emulation/half.h"
#include "emulation/ptx/access_report.h"
#include "emulation_bench.h"

namespace alphamargin::emulated {
namespace {

// A kernel with two parameters, the addresses of its input and output.
std::string kernel_text(const std::string& body, const std::string& outside = "",
                        const std::string& limits = "") {
  return ".version 9.0\n.target sm_90a\n.address_size 64\n" + outside +
         "\n.visible .entry test_kernel(\n.param .u64 in_param,\n.param .u64 out_param\n)\n" +
         limits + "\n{\n.reg .pred %p<9>;\n.reg .b16 %h<9>;\n.reg .b32 %r<9>;\n.reg .b64 %d<9>;\n" +
         ".reg .b64 %in, %out;\nld.param.u64 %in, [in_param];\nld.param.u64 %out, [out_param];\n" +
         body + "\nret;\n}\n";
}

struct Run {
  std::string body;
  std::string outside = "";
  std::string limits = "";
  dim3 block = 1;
  std::size_t shared_bytes = 0;
  std::size_t words = 64;  // of output
};

std::vector<std::uint64_t> run_ptx(const Run& test, const std::vector<std::uint64_t>& input = {0}) {
  Bench bench;
  auto in = bench.buffer(input);
  auto out = bench.buffer<std::uint64_t>(test.words);
  ptx::Module module("test.ptx", kernel_text(test.body, test.outside, test.limits));
  const std::uint64_t* const source = in.data();
  std::uint64_t* const target = out.data();
  enqueue(bench.context.stream(), [&] {
    const std::array<ptx::Argument, 2> arguments{ptx::Argument{&source, sizeof source},
                                                 ptx::Argument{&target, sizeof target}};
    ptx::launch("test_kernel", module, "test_kernel", {1, test.block, test.shared_bytes, 1},
                arguments);
  });
  return bench.read(out);
}

void expect_ptx_fault(const Run& test, const std::vector<std::string>& parts) {
  expect_fault([&] { run_ptx(test); }, parts);
}

std::uint64_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }
std::uint64_t bits(double value) { return std::bit_cast<std::uint64_t>(value); }
std::uint64_t word(std::int32_t value) { return static_cast<std::uint32_t>(value); }

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// An instruction on up to three values of a width, and the bits of what it gives.
struct Calculation {
  const char* opcode;
  std::size_t width;         // of the operands
  std::size_t result_width;  // 0: a predicate
  std::vector<std::uint64_t> operands;
  std::uint64_t result;
};

const std::vector<Calculation>& calculations() {
  static const std::vector<Calculation> list = {
      {"add.s32", 32, 32, {word(0x7fffffff), 1}, 0x80000000},
      {"sub.s64", 64, 64, {3, 5}, ~std::uint64_t{1}},
      {"mul.lo.s32", 32, 32, {word(-3), 0x40000001}, 0x3ffffffd},
      {"mul.hi.u32", 32, 32, {0xffffffff, 0xffffffff}, 0xfffffffe},
      {"mul.hi.s32", 32, 32, {word(-1), 5}, word(-1)},
      {"mul.hi.s64", 64, 64, {~std::uint64_t{0}, 5}, ~std::uint64_t{0}},
      {"mul.wide.s32", 32, 64, {word(-2), 3}, ~std::uint64_t{5}},
      {"mul.wide.u32", 32, 64, {0xfffffffe, 3}, 0x2fffffffa},
      {"mad.lo.s32", 32, 32, {word(-2), 3, 10}, 4},
      {"shl.b32", 32, 32, {1, 31}, 0x80000000},
      {"shl.b32", 32, 32, {1, 32}, 0},
      {"shr.s32", 32, 32, {word(-8), 40}, word(-1)},
      {"shr.u32", 32, 32, {word(-8), 31}, 1},
      {"shf.l.wrap.b32", 32, 32, {0x80000001, 0x12345678, 36}, 0x23456788},
      {"shf.r.wrap.b32", 32, 32, {0x80000001, 0x12345678, 4}, 0x88000000},
      {"min.s32", 32, 32, {word(-1), 1}, word(-1)},
      {"min.u32", 32, 32, {word(-1), 1}, 1},
      {"popc.b32", 32, 32, {0xf00f}, 8},
      {"clz.b32", 32, 32, {0x00010000}, 15},
      {"brev.b32", 32, 32, {0x00000005}, 0xa0000000},
      {"bfind.shiftamt.u32", 32, 32, {0x00010000}, 15},
      {"bfind.shiftamt.u32", 32, 32, {0}, 0xffffffff},
      {"bmsk.clamp.b32", 32, 32, {4, 3}, 0x70},
      {"bmsk.clamp.b32", 32, 32, {31, 5}, 0x80000000},
      {"bmsk.clamp.b32", 32, 32, {1, 40}, 0xfffffffe},
      {"bmsk.clamp.b32", 32, 32, {32, 1}, 0},
      {"xor.b32", 32, 32, {0xff00ff00, 0x0ff00ff0}, 0xf0f0f0f0},
      {"not.b64", 64, 64, {1}, ~std::uint64_t{1}},
      {"cvt.u32.u16", 16, 32, {0xffff}, 0xffff},
      {"cvt.s64.s32", 32, 64, {word(-7)}, ~std::uint64_t{6}},
      {"cvt.u64.u32", 32, 64, {word(-7)}, 0xfffffff9},
      {"cvt.rn.f32.s32", 32, 32, {0x01000001}, bits(16777216.0f)},
      {"cvt.rn.f64.u64", 64, 64, {~std::uint64_t{0}}, bits(18446744073709551616.0)},
      {"cvt.rzi.s32.f32", 32, 32, {bits(-2.9f)}, word(-2)},
      {"cvt.rmi.s32.f32", 32, 32, {bits(-2.1f)}, word(-3)},
      {"cvt.rzi.s32.f32", 32, 32, {bits(3e9f)}, 0x7fffffff},
      {"cvt.rzi.s32.f32", 32, 32, {bits(-kInfinity)}, 0x80000000},
      {"cvt.rzi.u64.f64", 64, 64, {bits(-1.5)}, 0},
      {"cvt.rzi.s32.f32", 32, 32, {bits(kNan)}, 0},
      {"cvt.rni.s32.f64", 64, 32, {bits(2.5)}, 2},
      {"cvt.rni.f64.f64", 64, 64, {bits(3.5)}, bits(4.0)},
      {"cvt.rmi.f32.f32", 32, 32, {bits(-0.5f)}, bits(-1.0f)},
      {"cvt.rn.f32.f64", 64, 32, {bits(1 + 0x1p-24)}, bits(1.0f)},
      {"cvt.f64.f32", 32, 64, {bits(0.1f)}, bits(static_cast<double>(0.1f))},
      {"cvt.rn.f16.f32", 32, 16, {bits(65519.0f)}, 0x7bff},
      {"cvt.f32.f16", 16, 32, {0x3555}, bits(0.333251953125f)},
      {"add.rn.f32", 32, 32, {bits(1.0f), bits(0x1p-24f)}, bits(1.0f)},
      {"fma.rn.f32",
       32,
       32,
       {bits(1 + 0x1p-12f), bits(1 - 0x1p-12f), bits(-1.0f)},
       bits(-0x1p-24f)},
      {"div.rn.f64", 64, 64, {bits(1.0), bits(-0.0)}, bits(-HUGE_VAL)},
      {"sqrt.rn.f64", 64, 64, {bits(2.0)}, bits(1.4142135623730951)},
      {"min.f32", 32, 32, {bits(kNan), bits(3.0f)}, bits(3.0f)},
      {"max.f32", 32, 32, {bits(-0.0f), bits(0.0f)}, bits(0.0f)},
      {"min.f64", 64, 64, {bits(0.0), bits(-0.0)}, bits(-0.0)},
      {"neg.f32", 32, 32, {bits(0.0f)}, bits(-0.0f)},
      {"abs.f64", 64, 64, {bits(-2.0)}, bits(2.0)},
      {"copysign.f64", 64, 64, {bits(-1.0), bits(3.0)}, bits(-3.0)},
      {"setp.lt.f32", 32, 0, {bits(kNan), bits(1.0f)}, 0},
      {"setp.ltu.f32", 32, 0, {bits(kNan), bits(1.0f)}, 1},
      {"setp.ne.f32", 32, 0, {bits(kNan), bits(1.0f)}, 0},
      {"setp.neu.f32", 32, 0, {bits(kNan), bits(1.0f)}, 1},
      {"setp.num.f32", 32, 0, {bits(1.0f), bits(kNan)}, 0},
      {"setp.nan.f32", 32, 0, {bits(1.0f), bits(kNan)}, 1},
      {"setp.lt.s32", 32, 0, {word(-1), 0}, 1},
      {"setp.lt.u32", 32, 0, {word(-1), 0}, 0},
      {"setp.ge.s64", 64, 0, {~std::uint64_t{0}, 0}, 0},
  };
  return list;
}

std::string register_of(std::size_t width, std::size_t index) {
  return (width == 0    ? "%p"
          : width == 16 ? "%h"
          : width == 32 ? "%r"
                        : "%d") +
         std::to_string(index);
}

void test_calculations() {
  for (const Calculation& one : calculations()) {
    std::string body;
    std::string operands;
    for (std::size_t i = 0; i < one.operands.size(); ++i) {
      // The place of a shift has 32 bits whatever it shifts.
      const std::string name = register_of(one.width, 1 + i);
      body += "ld.global.u" + std::to_string(one.width) + " " + name + ", [%in+" +
              std::to_string(8 * i) + "];\n";
      operands += ", " + name;
    }
    body += std::string(one.opcode) + " " + register_of(one.result_width, 0) + operands + ";\n";
    if (one.result_width == 0) {
      body += "selp.u64 %d8, 1, 0, %p0;\nst.global.u64 [%out], %d8;\n";
    } else {
      body += "mov.u64 %d8, 0;\nst.global.u64 [%out], %d8;\nst.global.u" +
              std::to_string(one.result_width) + " [%out], " + register_of(one.result_width, 0) +
              ";\n";
    }
    const std::uint64_t result = run_ptx({body}, one.operands)[0];
    expect(result == one.result, std::string(one.opcode) + " gives " + std::to_string(result) +
                                     ", not " + std::to_string(one.result));
  }
}

// 128 bits from 32-bit words, bits in another word, halves of a register.
void test_carries_and_parts() {
  const auto result = run_ptx(
      {"ld.global.u32 %r1, [%in];\nadd.cc.u32 %r2, %r1, 1;\naddc.cc.u32 %r3, %r1, 0;\n"
       "addc.u32 %r4, 0, 0;\nst.global.v4.u32 [%out], {%r2, %r3, %r4, %r1};\n"
       "sub.cc.u32 %r2, 0, 1;\nsubc.u32 %r3, 5, 0;\nst.global.v2.u32 [%out+16], {%r2, %r3};\n"
       "mad.lo.cc.u32 %r2, %r1, 2, 2;\nmadc.hi.u32 %r3, %r1, 2, 0;\n"
       "mov.b64 %d1, {%r2, %r3};\nst.global.u64 [%out+24], %d1;\n"
       "bfi.b32 %r5, 5, %r1, 4, 3;\nmov.b64 {%r6, %r7}, %d1;\n"
       "st.global.v2.u32 [%out+32], {%r5, %r7};\n"},
      {0xffffffff});
  expect(result[0] == 0 && result[1] == 0xffffffff00000001u, "a carry was lost");
  expect(result[2] == 0x00000004ffffffffu, "a borrow was lost");
  expect(result[3] == 0x200000000u, "the carry of a product was lost");
  expect(result[4] == 0x00000002ffffffdfu, "bits or parts were moved wrongly");
}

// A function, its stack and variables; a loop; names between braces that hide others.
void test_calls_and_scopes() {
  const std::string outside =
      ".global .align 8 .b8 table[16] = {1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0};\n"
      ".func (.param .b64 result) twice(.param .b64 argument)\n{\n"
      ".local .align 8 .b8 stack[16];\n.reg .b64 %d<5>;\nmov.u64 %d1, stack;\n"
      "ld.param.u64 %d2, [argument];\nadd.s64 %d3, %d2, %d2;\nst.local.u64 [%d1+8], %d3;\n"
      "cvta.local.u64 %d1, %d1;\nld.u64 %d4, [%d1+8];\nst.param.b64 [result], %d4;\nret;\n}\n";
  const auto result =
      run_ptx({"mov.u64 %d1, 0;\nmov.u32 %r1, 0;\n"
               "LOOP:\n{\n.reg .b64 %d1;\n.param .b64 given;\n.param .b64 back;\n"
               "cvt.u64.u32 %d1, %r1;\nst.param.b64 [given], %d1;\n"
               "call.uni (back), twice, (given);\nld.param.b64 %d2, [back];\n}\n"
               "add.s64 %d1, %d1, %d2;\nadd.s32 %r1, %r1, 1;\n"
               "setp.lt.u32 %p1, %r1, 5;\n@%p1 bra LOOP;\n"
               "ld.global.nc.u64 %d3, [table+8];\n"
               "st.global.v2.u64 [%out], {%d1, %d3};\n",
               outside});
  expect(result[0] == 20, "the sum is wrong");
  expect(result[1] == 7, "the table was not read");
}

// Reach, ends of a segment and predicates of shuffles; votes; masks of lanes.
void test_shuffles() {
  const std::string store =
      "mul.wide.u32 %d1, %r1, 8;\nadd.s64 %d1, %out, %d1;\nselp.u32 %r4, 1, 0, %p1;\n"
      "st.global.v2.u32 [%d1], {%r3, %r4};\n";
  const auto run = [&](const std::string& line) {
    return run_ptx({"mov.u32 %r1, %laneid;\nmul.lo.s32 %r2, %r1, 3;\n" + line + store, "", "", 32});
  };
  const auto up = run("shfl.sync.up.b32 %r3|%p1, %r2, 2, 0, -1;\n");
  const auto down = run("shfl.sync.down.b32 %r3|%p1, %r2, 2, 31, -1;\n");
  const auto across = run("shfl.sync.bfly.b32 %r3|%p1, %r2, 16, 31, -1;\n");
  const auto segment = run("shfl.sync.idx.b32 %r3|%p1, %r2, 1, 6175, -1;\n");  // of 8 lanes
  const auto vote =
      run("setp.lt.u32 %p1, %r1, 5;\nvote.sync.ballot.b32 %r3, %p1, -1;\n"
          "mov.u32 %r5, %lanemask_le;\nand.b32 %r3, %r3, %r5;\n");
  const auto expected = [](unsigned from, bool is_in_reach) {
    return std::uint64_t{from * 3} | std::uint64_t{is_in_reach ? 1u : 0u} << 32;
  };
  for (unsigned lane = 0; lane < 32; ++lane) {
    const bool first = lane < 2;
    const bool last = lane >= 30;
    expect(up[lane] == expected(first ? lane : lane - 2, !first), "shfl.up");
    expect(down[lane] == expected(last ? lane : lane + 2, !last), "shfl.down");
    expect(across[lane] == expected(lane ^ 16, true), "shfl.bfly");
    expect(segment[lane] == expected(lane / 8 * 8 + 1, true), "shfl.idx");
    const std::uint32_t below = (std::uint64_t{2} << lane) - 1;
    expect((vote[lane] & 0xffffffffu) == (0x1fu & below), "vote or lanemask");
  }
}

void test_memory_mistakes() {
  expect_ptx_fault({"ld.global.u32 %r1, [%in+8];"},
                   {"test_kernel", "test.ptx:18 (ld.global.u32)", "outside of device memory"});
  expect_ptx_fault({"st.global.u32 [%out+-4], %r1;"},
                   {"st.global.u32", "outside of device memory"});
  expect_ptx_fault({"ld.global.v2.u32 {%r1, %r2}, [%in+4];"}, {"not a multiple of 8"});
  const std::string arrays =
      ".shared .align 8 .b8 first[16];\n.shared .align 8 .b8 second[16];\n"
      ".extern .shared .align 16 .b8 given[];\n";
  expect_ptx_fault({"mov.u32 %r1, second;\nst.shared.u32 [first+16], %r1;", arrays},
                   {"st.shared.u32", "outside of shared memory"});
  expect_ptx_fault({"ld.shared.u64 %d1, [given+32];", arrays, "", 1, 32},
                   {"outside of shared memory"});
  expect_ptx_fault(
      {"mov.u64 %d1, first;\ncvta.shared.u64 %d1, %d1;\nld.u64 %d2, [%d1+16];", arrays},
      {"ld.u64", "outside of shared memory"});
  const auto result =
      run_ptx({"st.shared.u64 [given+24], 5;\nmov.u64 %d1, given;\n"
               "cvta.shared.u64 %d1, %d1;\nld.u64 %d2, [%d1+24];\n"
               "st.global.u64 [%out], %d2;",
               arrays, "", 1, 32});
  expect(result[0] == 5, "shared memory was not read");
}

void test_launch_mistakes() {
  expect_ptx_fault({"", "", ".maxntid 64, 1, 1", 96}, {"__launch_bounds__"});
  expect_ptx_fault({"add.f32 %r1, %r2, %r3;"}, {"test.ptx:18", "add.f32 is not known"});
  expect_ptx_fault({"bra NOWHERE;"}, {"a branch to NOWHERE"});
  expect_ptx_fault({"mov.u32 %r1, %r9;"}, {"the name %r9 is not known"});
  expect_ptx_fault({"trap;"}, {"test.ptx:18 (trap)"});
}

// Lanes that take different ways to an instruction of the whole warp.
void test_divergence() {
  const std::string half = "mov.u32 %r1, %laneid;\nsetp.lt.u32 %p1, %r1, 16;\n@%p1 bra LOW;\n";
  expect_ptx_fault({half + "wgmma.fence.sync.aligned;\nbra END;\nLOW:\nwgmma.fence.sync.aligned;\n"
                           "END:",
                    "", "", 32},
                   {"lanes of a warp wait at different operations"});
  expect_ptx_fault({half + "bar.sync 0;\nbra END;\nLOW:\nbar.sync 0;\nEND:", "", "", 32},
                   {"different barriers"});
  expect_ptx_fault({half + "shfl.sync.idx.b32 %r2, %r1, 0, 31, -1;\nLOW:", "", "", 32},
                   {"waits for"});
  expect_ptx_fault(
      {half + "bra END;\nLOW:\nshfl.sync.idx.b32 %r2, %r1, 20, 31, 65535;\nEND:", "", "", 32},
      {"reads lane 20"});
}

// One thread of 96 votes for at a barrier in three, in any order of the threads.
void test_votes_of_a_block() {
  const std::string body =
      "mov.u32 %r1, %tid.x;\nmov.u32 %r2, 0;\nmov.u32 %r3, 0;\n"
      "LOOP:\n"
      "rem.u32 %r4, %r2, 3;\nsetp.eq.u32 %p1, %r4, 1;\n"
      "mul.lo.u32 %r5, %r2, 7;\nsetp.eq.u32 %p2, %r5, %r1;\nand.pred %p1, %p1, %p2;\n"
      "bar.red.or.pred %p3, 0, %p1;\nselp.u32 %r6, 1, 0, %p3;\n"
      "shl.b32 %r6, %r6, %r2;\nor.b32 %r3, %r3, %r6;\n"
      "add.s32 %r2, %r2, 1;\nsetp.lt.u32 %p1, %r2, 12;\n@%p1 bra LOOP;\n"
      "mul.wide.u32 %d1, %r1, 8;\nadd.s64 %d1, %out, %d1;\ncvt.u64.u32 %d2, %r3;\n"
      "st.relaxed.gpu.global.u64 [%d1], %d2;\n";
  for (const std::uint64_t seed : {0, 1, 2}) {
    DeviceSettings settings;
    settings.seed = seed;
    settings.interval = 3;
    configure_device(settings);
    const auto result = run_ptx({body, "", "", 96, 0, 96});
    configure_device({});
    for (const std::uint64_t votes : result) expect(votes == 0x492, "a vote was lost or kept");
  }
  expect_ptx_fault({"bar.red.or.pred %p1, 1, %p2;"}, {"barrier 0"});
}

// 64 threads add 1 to a number, in three instructions rather than one. Between barriers all threads
// run to their end, unless they are interrupted.
void test_interruptions() {
  const auto sum = [](const std::string& body, std::uint64_t seed, std::size_t interval) {
    DeviceSettings settings;
    settings.seed = seed;
    settings.interval = interval;
    configure_device(settings);
    const auto result =
        run_ptx({"mov.u32 %r1, %tid.x;\nsetp.ne.s32 %p1, %r1, 0;\n"
                 "@%p1 bra READY;\nst.global.u32 [%out], 0;\nREADY:\nbar.sync 0;\n" +
                     body + "bar.sync 0;\n",
                 "", "", 64});
    configure_device({});
    return result[0] & 0xffffffffu;
  };
  const std::string plain =
      "ld.global.u32 %r2, [%out];\nadd.s32 %r2, %r2, 1;\nst.global.u32 [%out], %r2;\n";
  const std::string atomic = "atom.global.add.u32 %r2, [%out], 1;\n";
  for (const std::uint64_t seed : {0, 1, 2, 3, 7}) {
    expect(sum(plain, seed, 0) == 64, "a thread was interrupted");
    expect(sum(plain, seed, 3) < 64, "no thread was interrupted");
    expect(sum(atomic, seed, 3) == 64, "an atomic operation was interrupted");
  }
}

// Lanes of a warp that are `stride` bytes apart.
void test_costs() {
  struct Cost {
    std::uint64_t stride, bytes;
    std::uint32_t lanes;
    std::uint64_t sectors, least_sectors, passes, least_passes;
  };
  for (const Cost& cost : std::initializer_list<Cost>{
           {4, 4, ~0u, 4, 4, 1, 1},
           {0, 4, ~0u, 1, 1, 1, 1},
           {8, 4, ~0u, 8, 4, 2, 1},
           {128, 4, ~0u, 32, 4, 32, 1},
           {132, 4, ~0u, 32, 4, 1, 1},
           {8, 8, ~0u, 8, 8, 2, 2},
           {16, 16, ~0u, 16, 16, 4, 4},
           {16, 16, 0xffu, 4, 4, 1, 1},
           {2, 2, ~0u, 2, 2, 1, 1},
           {4, 4, 1u, 1, 1, 1, 1},
       }) {
    std::array<std::uint64_t, kWarp> addresses;
    for (unsigned lane = 0; lane < kWarp; ++lane) addresses[lane] = 1024 + lane * cost.stride;
    const ptx::AccessCounts sectors = ptx::sectors_of(addresses, cost.lanes, cost.bytes);
    const ptx::AccessCounts passes = ptx::passes_of(addresses, cost.lanes, cost.bytes);
    const std::string what = std::to_string(cost.stride) + " bytes apart: ";
    expect(
        sectors.units == cost.sectors && sectors.least == cost.least_sectors,
        what + std::to_string(sectors.units) + " sectors, least " + std::to_string(sectors.least));
    expect(passes.units == cost.passes && passes.least == cost.least_passes,
           what + std::to_string(passes.units) + " passes, least " + std::to_string(passes.least));
  }
}

}  // namespace

const test::Cases kPtxCases = {
    {"PTX: results of instructions", &test_calculations},
    {"PTX: carries, and parts of registers", &test_carries_and_parts},
    {"PTX: calls, loops and names", &test_calls_and_scopes},
    {"PTX: shuffles and votes", &test_shuffles},
    {"PTX: reads and writes outside of memory", &test_memory_mistakes},
    {"PTX: launches and texts that are wrong", &test_launch_mistakes},
    {"PTX: lanes that part", &test_divergence},
    {"PTX: a race between barriers", &test_interruptions},
    {"PTX: votes of a block", &test_votes_of_a_block},
    {"PTX: what accesses of a warp cost", &test_costs},
};

}  // namespace alphamargin::emulated
