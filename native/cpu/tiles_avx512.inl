// Register tiles of the byte filter with AVX-512, with VNNI or without. Included inside an
// anonymous namespace.

// What the sums of a tile read besides classes; an asm statement has no more operands than that.
struct TileSource {
  const std::int8_t* end;  // of the panel
  const float* ahead[kRowsPerStep];
};

// The sums of a tile over all chunks, in assembly: given intrinsics or single instructions, the
// compiler moves accumulators about or spills them, which takes twice as long.
//
// A row of the tile: a chunk of an embedding, broadcast into zmm30, with a line of every group.
// `stride`: bytes from a group to the next. Meanwhile rows are asked for (FilterBlock::ahead).
#ifdef ALPHAMARGIN_AVX512_VNNI
#define ALPHAMARGIN_ADD_PRODUCTS(line, sum) "vpdpbusd %%zmm30, %%zmm" #line ", %" #sum "\n"
#else
// By name: an asm statement has no more operands than the tiles take already.
alignas(64) __attribute__((used)) static const std::int16_t ones[32] asm("alphamargin_ones") = {
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
#define ALPHAMARGIN_ADD_PRODUCTS(line, sum)              \
  "vpmaddubsw %%zmm30, %%zmm" #line                      \
  ", %%zmm31\n"                                          \
  "vpmaddwd alphamargin_ones(%%rip), %%zmm31, %%zmm31\n" \
  "vpaddd %%zmm31, %" #sum ", %" #sum "\n"
#endif
#define ALPHAMARGIN_BROADCAST(offset) "vbroadcasti32x4 " #offset "(%[panel]), %%zmm30\n"
#define ALPHAMARGIN_CLEAR(a, b, c)                                                           \
  "vpxorq %" #a ", %" #a ", %" #a "\nvpxorq %" #b ", %" #b ", %" #b "\nvpxorq %" #c ", %" #c \
  ", %" #c "\n"
#define ALPHAMARGIN_CLEAR_ALL   \
  ALPHAMARGIN_CLEAR(0, 1, 2)    \
  ALPHAMARGIN_CLEAR(3, 4, 5)    \
  ALPHAMARGIN_CLEAR(6, 7, 8)    \
  ALPHAMARGIN_CLEAR(9, 10, 11)  \
  ALPHAMARGIN_CLEAR(12, 13, 14) \
  ALPHAMARGIN_CLEAR(15, 16, 17) \
  ALPHAMARGIN_CLEAR(18, 19, 20) \
  ALPHAMARGIN_CLEAR(21, 22, 23)
#define ALPHAMARGIN_SUMS_OF_TWO(a, b) \
  "=&v"((a)[0]), "=&v"((a)[1]), "=&v"((a)[2]), "=&v"((b)[0]), "=&v"((b)[1]), "=&v"((b)[2])

// rax: the tile behind, which is brought into the first cache meanwhile.
inline void multiply_tile(const std::uint8_t* classes, std::size_t stride, const std::int8_t* panel,
                          const TileSource& source, __m512i (&sums)[8][3]) {
#define ALPHAMARGIN_ROW(offset, a, b, c) \
  ALPHAMARGIN_BROADCAST(offset)          \
  ALPHAMARGIN_ADD_PRODUCTS(24, a)        \
  ALPHAMARGIN_ADD_PRODUCTS(25, b)        \
  ALPHAMARGIN_ADD_PRODUCTS(26, c)
  asm volatile(
      "lea (%[classes],%[stride],2), %%rax\n"
      "add %[stride], %%rax\n"
      "mov (%[source]), %%rcx\n"
      "mov 8(%[source]), %%rdx\n" ALPHAMARGIN_CLEAR_ALL
      ".p2align 5\n"
      "1:\n"
      "vmovdqa64 (%[classes]), %%zmm24\n"
      "vmovdqa64 (%[classes],%[stride]), %%zmm25\n"
      "vmovdqa64 (%[classes],%[stride],2), %%zmm26\n"
      "prefetcht0 (%%rax)\n"
      "prefetcht0 (%%rax,%[stride])\n"
      "prefetcht0 (%%rax,%[stride],2)\n"
      "prefetcht1 (%%rdx)\n"
      ALPHAMARGIN_ROW(0, 0, 1, 2)
      ALPHAMARGIN_ROW(16, 3, 4, 5)
      ALPHAMARGIN_ROW(32, 6, 7, 8)
      ALPHAMARGIN_ROW(48, 9, 10, 11)
      ALPHAMARGIN_ROW(64, 12, 13, 14)
      ALPHAMARGIN_ROW(80, 15, 16, 17)
      ALPHAMARGIN_ROW(96, 18, 19, 20)
      ALPHAMARGIN_ROW(112, 21, 22, 23)
      "add $64, %%rax\n"
      "add $64, %%rdx\n"
      "add $64, %[classes]\n"
      "sub $-128, %[panel]\n"
      "cmp %%rcx, %[panel]\n"
      "jne 1b\n"
      : ALPHAMARGIN_SUMS_OF_TWO(sums[0], sums[1]), ALPHAMARGIN_SUMS_OF_TWO(sums[2], sums[3]),
        ALPHAMARGIN_SUMS_OF_TWO(sums[4], sums[5]), ALPHAMARGIN_SUMS_OF_TWO(sums[6], sums[7]),
        [classes] "+r"(classes), [panel] "+r"(panel)
      : [stride] "r"(stride), [source] "r"(&source)
      : "memory", "cc", "rax", "rcx", "rdx", "xmm24", "xmm25", "xmm26", "xmm30", "xmm31");
#undef ALPHAMARGIN_ROW
}

// rax: the second half of the groups.
inline void multiply_tile(const std::uint8_t* classes, std::size_t stride, const std::int8_t* panel,
                          const TileSource& source, __m512i (&sums)[4][6]) {
#define ALPHAMARGIN_ROW(offset, a, b, c, d, e, f) \
  ALPHAMARGIN_BROADCAST(offset)                   \
  ALPHAMARGIN_ADD_PRODUCTS(24, a)                 \
  ALPHAMARGIN_ADD_PRODUCTS(25, b)                 \
  ALPHAMARGIN_ADD_PRODUCTS(26, c)                 \
  ALPHAMARGIN_ADD_PRODUCTS(27, d)                 \
  ALPHAMARGIN_ADD_PRODUCTS(28, e)                 \
  ALPHAMARGIN_ADD_PRODUCTS(29, f)
  asm volatile(
      "lea (%[classes],%[stride],2), %%rax\n"
      "add %[stride], %%rax\n"
      "mov (%[source]), %%rcx\n"
      "mov 8(%[source]), %%rdx\n"
      "mov 16(%[source]), %%rdi\n" ALPHAMARGIN_CLEAR_ALL
      ".p2align 5\n"
      "1:\n"
      "vmovdqa64 (%[classes]), %%zmm24\n"
      "vmovdqa64 (%[classes],%[stride]), %%zmm25\n"
      "vmovdqa64 (%[classes],%[stride],2), %%zmm26\n"
      "vmovdqa64 (%%rax), %%zmm27\n"
      "vmovdqa64 (%%rax,%[stride]), %%zmm28\n"
      "vmovdqa64 (%%rax,%[stride],2), %%zmm29\n"
      "prefetcht1 (%%rdx)\n"
      "prefetcht1 (%%rdi)\n"
      ALPHAMARGIN_ROW(0, 0, 1, 2, 3, 4, 5)
      ALPHAMARGIN_ROW(16, 6, 7, 8, 9, 10, 11)
      ALPHAMARGIN_ROW(32, 12, 13, 14, 15, 16, 17)
      ALPHAMARGIN_ROW(48, 18, 19, 20, 21, 22, 23)
      "add $64, %%rax\n"
      "add $64, %%rdx\n"
      "add $64, %%rdi\n"
      "add $64, %[classes]\n"
      "add $64, %[panel]\n"
      "cmp %%rcx, %[panel]\n"
      "jne 1b\n"
      : ALPHAMARGIN_SUMS_OF_TWO(sums[0], sums[0] + 3), ALPHAMARGIN_SUMS_OF_TWO(sums[1], sums[1] + 3),
        ALPHAMARGIN_SUMS_OF_TWO(sums[2], sums[2] + 3), ALPHAMARGIN_SUMS_OF_TWO(sums[3], sums[3] + 3),
        [classes] "+r"(classes), [panel] "+r"(panel)
      : [stride] "r"(stride), [source] "r"(&source)
      : "memory", "cc", "rax", "rcx", "rdx", "rdi", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28",
        "xmm29", "xmm30", "xmm31");
#undef ALPHAMARGIN_ROW
}

#undef ALPHAMARGIN_SUMS_OF_TWO
#undef ALPHAMARGIN_CLEAR_ALL
#undef ALPHAMARGIN_CLEAR
#undef ALPHAMARGIN_BROADCAST
#undef ALPHAMARGIN_ADD_PRODUCTS
