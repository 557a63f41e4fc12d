/*
 * Programs for the page, as text: the type checker of this repository knows Node, not a
 * document.
 */

/** Whether anything makes the page scroll sideways. */
export const OVERFLOW = `document.documentElement.scrollWidth - window.innerWidth`;

/** Texts of plots that leave their plot, or lie on one another. */
export const MISPLACED_LABELS = `[...document.querySelectorAll('figure svg')].flatMap((svg) => {
  const frame = svg.getBoundingClientRect();
  const labels = [...svg.querySelectorAll('text')]
    .filter((text) => text.textContent.trim() !== '' && getComputedStyle(text).opacity !== '0')
    .map((text) => ({ text: text.textContent, box: text.getBoundingClientRect() }));
  const outside = labels.filter(({ box }) =>
    box.left < frame.left - 1 || box.right > frame.right + 1 ||
    box.top < frame.top - 1 || box.bottom > frame.bottom + 1);
  // Line boxes are taller than what is written in them.
  const overlap = (a, b) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 0 &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 0.35 * Math.min(a.height, b.height);
  const covered = labels.filter(({ box }, index) =>
    labels.some((other, place) => place > index && overlap(box, other.box)));
  return [...outside.map(({ text }) => 'outside: ' + text),
    ...covered.map(({ text }) => 'covered: ' + text)];
})`;

/** Height in pixels of the smallest type in a plot, as it is shown. */
export const SMALLEST_TYPE = `Math.min(...[...document.querySelectorAll('figure svg text')].map((text) => {
  const svg = text.closest('svg');
  const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  return scale * parseFloat(getComputedStyle(text).fontSize);
}))`;

/** Least contrast of any text with what is behind it, by the formula of WCAG 2. */
export const LEAST_CONTRAST = `(() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = channels(color).map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const color = getComputedStyle(element).backgroundColor;
    return channels(color)[3] === 0 ? ground(element.parentElement) : color;
  };
  const texts = document.querySelectorAll('h1, h2, p, dt, dd, th, td, li, label, output, figcaption, svg text');
  return Math.min(...[...texts].map((element) => {
    const svg = element.closest('svg');
    const style = getComputedStyle(element);
    const [a, b] = [luminance(svg ? style.fill : style.color), luminance(ground(svg ?? element))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }));
})()`;
