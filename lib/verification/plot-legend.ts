import { escapeHtml } from './html.js';
import { COLORS, DASHES } from './plot-theme.js';

/**
 * The legend of plots without one of their own: the names that curves have in them,
 * each after a piece of its line.
 *
 * @param curves Names, and places where they are not the positions in the list.
 */
export function plotLegend(
  curves: readonly { readonly name: string; readonly place?: number }[],
): string {
  const items = curves.map(({ name, place }, index) => {
    const color = COLORS[(place ?? index) % COLORS.length]!;
    const dashes = DASHES[(place ?? index) % DASHES.length]!.join(' ');
    const line = `<line x1="0" x2="32" y1="5" y2="5" stroke="${color}" stroke-width="2.5" stroke-dasharray="${dashes}"/>`;
    return `<li><svg width="32" height="10" aria-hidden="true">${line}</svg>${escapeHtml(name)}</li>`;
  });
  return `<ul class="curves">${items.join('')}</ul>`;
}
