/** Style of the report: no fonts or images from elsewhere, light and dark. */
export const REPORT_STYLE = `
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --line: #d8dee4; --ground: #ffffff; --panel: #f4f6f8; --accent: #1f6fb2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ed; --soft: #9aa4af; --line: #343b44; --ground: #14181d; --panel: #1c2229; --accent: #6cb2ee; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { margin: 0 0 .75rem; font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 2.25rem 0 .5rem; font-size: 1.1875rem; line-height: 1.3; }
p { margin: 0 0 .75rem; max-width: 44rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .125rem 1rem; margin: 0 0 1rem; font-size: .9375rem; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
.table { overflow-x: auto; margin: .75rem 0 .5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9375rem; }
th, td { padding: .375rem .625rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: baseline; }
td { white-space: nowrap; }
thead th { vertical-align: bottom; border-bottom-width: 2px; min-width: 6rem; max-width: 12rem; overflow-wrap: break-word; }
tbody th { white-space: nowrap; }
th:first-child { text-align: left; padding-left: 0; font-weight: 500; position: sticky; left: 0; background: var(--ground); }
td.none { color: var(--soft); font-size: .8125rem; line-height: 1.3; white-space: normal; min-width: 7.25rem; max-width: 7.25rem; }
.legend { color: var(--soft); font-size: .875rem; }
.chooser { padding: .25rem 1rem 1rem; margin-top: 2.25rem; background: var(--panel); border: 1px solid var(--line); border-radius: .5rem; }
.chooser h2 { margin-top: .75rem; }
.chooser th:first-child { background: var(--panel); }
.chooser .legend { margin: 0; }
.chooser .choice { margin: 0; font-variant-numeric: tabular-nums; }
.chooser output { display: inline-block; font-weight: 600; }
.chooser input { display: block; width: 100%; max-width: 44rem; height: 2.75rem; margin: 0; accent-color: var(--accent); cursor: pointer; }
.chooser [hidden] { display: none; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.curves { display: flex; flex-wrap: wrap; gap: .125rem 1.25rem; margin: 0; padding: 0; list-style: none; font-size: .9375rem; }
.curves li { display: flex; gap: .5rem; align-items: baseline; overflow-wrap: anywhere; min-width: 0; }
.curves svg { flex: none; position: relative; top: -.1em; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.5rem; margin-top: .75rem; align-items: start; }
.plots.small { grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); }
.plots + .legend { margin-top: .75rem; }
figure { margin: 0; min-width: 0; }
figcaption { margin-bottom: .25rem; font-weight: 600; overflow-wrap: anywhere; }
figure svg { display: block; max-width: 100%; height: auto; font-variant-numeric: tabular-nums; }
@media (max-width: 30rem) { .chooser { padding: .25rem .75rem .75rem; } .chooser tbody th { white-space: normal; min-width: 8rem; } }
@media print { .chooser input { display: none; } }
`;
