/** Escapes text for HTML content and attributes. */
export function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

/** A table that scrolls sideways where it does not fit, with the keyboard too. */
export function scrollingTable(label: string, content: string): string {
  return `<div class="table" role="region" tabindex="0" aria-label="${escapeHtml(label)}"><table>
${content}
</table></div>`;
}

/** A drawing with a caption above it; its text is for the eye, the label for the ear. */
export function figure(caption: string, label: string, svg: string): string {
  return `<figure>
<figcaption>${escapeHtml(caption)}</figcaption>
<div role="img" aria-label="${escapeHtml(label)}">${svg}</div>
</figure>`;
}

/** A rate for people: percentages with as many digits as they need. */
export function percent(rate: number): string {
  return `${(100 * rate).toFixed(2)} %`;
}
