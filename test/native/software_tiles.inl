// The instructions of native/cpu/tile_instructions.inl in C++, for processors without AMX. Included
// inside an anonymous namespace.

struct SoftwareTile {
  std::uint8_t rows[16][64];
};
// Not to be used before begin_tiles(), nor after end_tiles(): no tile has a value then.
SoftwareTile software_tiles[8];
bool has_tiles = false;

inline void need_tiles() {
  if (!has_tiles) std::abort();
}

inline void begin_tiles() {
  has_tiles = true;
  std::memset(software_tiles, 0xa5, sizeof(software_tiles));
}

inline void end_tiles() { has_tiles = false; }

template <int kTile>
inline void clear_tile() {
  need_tiles();
  software_tiles[kTile] = {};
}

template <int kTile>
inline void load_tile(const void* rows, std::size_t stride) {
  need_tiles();
  for (std::size_t row = 0; row < 16; ++row) {
    std::memcpy(software_tiles[kTile].rows[row],
                static_cast<const std::uint8_t*>(rows) + row * stride, 64);
  }
}

template <int kTile>
inline void store_tile(std::int32_t* rows) {
  need_tiles();
  std::memcpy(rows, &software_tiles[kTile], sizeof(SoftwareTile));
}

template <int kSums, int kLeft, int kRight>
inline void multiply_add_tiles() {
  need_tiles();
  std::int32_t sums[16][16];
  std::memcpy(sums, &software_tiles[kSums], sizeof(sums));
  for (std::size_t i = 0; i < 16; ++i) {
    for (std::size_t j = 0; j < 16; ++j) {
      for (std::size_t k = 0; k < 64; ++k) {
        sums[i][j] += static_cast<std::int8_t>(software_tiles[kLeft].rows[i][k]) *
                      software_tiles[kRight].rows[k / 4][4 * j + k % 4];
      }
    }
  }
  std::memcpy(&software_tiles[kSums], sums, sizeof(sums));
}
