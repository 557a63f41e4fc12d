#pragma once
// When the slope of a prototype may be summed in float32,
//
//   ∂w + decay·w = (decay − Σ g c/‖w‖²) w + Σ_i (g_i/‖w‖) x̂_i:
//
// for a few pairs that do not nearly cancel. x̂ − c ŵ does when x̂ and w are aligned, and a rounding
// of float32 then is many times as large beside it; at the limit below about twenty times. The CPU
// and GPUs keep to the same limits and order of summation, so the same pairs give the same bits.
// (Constants only: kernel sets are compiled with instructions that not every processor has.)

#include <cstddef>

namespace alphamargin {

inline constexpr std::size_t kMostSinglePairs = 16;
inline constexpr double kMostAligned = 0.999;  // |Σ g c| beside Σ |g|
// Factors at the ends of the range of float32 would lose digits or overflow; zero does neither.
inline constexpr double kLeastSingleFactor = 0x1p-60;
inline constexpr double kMostSingleFactor = 0x1p60;

}  // namespace alphamargin
