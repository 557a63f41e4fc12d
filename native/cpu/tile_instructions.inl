// The instructions of AMX on tiles of 16 rows × 64 bytes. In assembly, because GCC's intrinsics are
// not ordered with what is stored to memory before. Included inside an anonymous namespace.

// What LDTILECFG reads.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileShapes) == 64);

inline void begin_tiles() {
  static constexpr TileShapes kShapes;
  asm volatile("ldtilecfg %0" : : "m"(kShapes));
}

// Tiles that nobody released are saved and restored with a thread, 8 KB each time.
inline void end_tiles() { asm volatile("tilerelease" : : : "memory"); }

template <int kTile>
inline void clear_tile() {
  asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
}

template <int kTile>
inline void load_tile(const void* rows, std::size_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(rows), "r"(stride), "i"(kTile) : "memory");
}

template <int kTile>
inline void store_tile(std::int32_t* rows) {
  constexpr std::size_t kStride = 64;
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(rows), "r"(kStride), "i"(kTile) : "memory");
}

// sums[i][j] += Σ_k left[i][k]·right[k/4][j][k mod 4], signed by unsigned bytes.
template <int kSums, int kLeft, int kRight>
inline void multiply_add_tiles() {
  asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kLeft), "i"(kRight));
}
