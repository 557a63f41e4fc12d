/*
 * Coefficients of P. J. Acklam's rational approximation of the inverse normal
 * distribution function; relative error below 1.15e-9, far below a pixel.
 */
const CENTRAL_NUMERATOR = [
  -3.969683028665376e1, 2.209460984245205e2, -2.759285104469687e2,
  1.38357751867269e2, -3.066479806614716e1, 2.506628277459239,
];
const CENTRAL_DENOMINATOR = [
  -5.447609879822406e1, 1.615858368580409e2, -1.556989798598866e2,
  6.680131188771972e1, -1.328068155288572e1, 1,
];
const TAIL_NUMERATOR = [
  -7.784894002430293e-3, -3.223964580411365e-1, -2.400758277161838,
  -2.549732539343734, 4.374664141464968, 2.938163982698783,
];
const TAIL_DENOMINATOR = [
  7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996,
  3.754408661907416, 1,
];

/** Rates below this, or above 1 − this, lie in a tail. */
const TAIL = 0.02425;

/**
 * Normal deviate of a rate: Φ⁻¹(p), the scale of a DET plot's axes, on which
 * normally distributed scores give a straight line.
 *
 * @param rate A rate p in (0, 1); 0 and 1 give ∓∞.
 */
export function probit(rate: number): number {
  if (rate <= 0) return Number.NEGATIVE_INFINITY;
  if (rate >= 1) return Number.POSITIVE_INFINITY;
  if (rate > 1 - TAIL) return -probit(1 - rate);
  if (rate < TAIL) {
    const root = Math.sqrt(-2 * Math.log(rate));
    return (
      polynomial(TAIL_NUMERATOR, root) / polynomial(TAIL_DENOMINATOR, root)
    );
  }
  const centred = rate - 0.5;
  const square = centred * centred;
  return (
    (centred * polynomial(CENTRAL_NUMERATOR, square)) /
    polynomial(CENTRAL_DENOMINATOR, square)
  );
}

/** Horner's scheme, the highest power first. */
function polynomial(coefficients: readonly number[], x: number): number {
  return coefficients.reduce((sum, coefficient) => sum * x + coefficient, 0);
}
