import { invalidArgument } from '../errors.js';
import { readOptions } from '../options.js';
import { plotSpecification } from './plot-specification.js';
import type { PlotWindow, Point } from './thin-curve.js';

// The types stand here so that no declaration a program reads leads to those of vega-lite, which do not
// compile under every strict option of TypeScript.

/** One axis: its title and its labelled positions. */
export interface PlotAxis {
  readonly title: string;
  readonly ticks: readonly { readonly at: number; readonly label: string }[];
}

/** What {@link renderCurves} draws. */
export interface CurvePlot {
  readonly window: PlotWindow;
  readonly x: PlotAxis;
  readonly y: PlotAxis;
  readonly curves: readonly {
    readonly name: string;
    /** Decides colour and dashes. Default its position among the curves. */
    readonly place?: number;
    /** Already thinned, in drawing order. */
    readonly points: readonly Point[];
    /** Point to mark with a dot. */
    readonly mark?: Point;
  }[];
  /** Reference line, drawn thin and dashed. */
  readonly guide?: readonly [Point, Point];
  /** Whether what each curve encloses is shaded. Default false. */
  readonly filled?: boolean;
}

/** Options of {@link detPlot} and {@link rocPlot}. */
export interface PlotOptions {
  /** Heading. Default none. */
  readonly title?: string | undefined;
  /** Width of the area between the axes, pixels in [100, 4000]. Default 380. */
  readonly width?: number | undefined;
  /** Height of the area between the axes, pixels in [100, 4000]. Default 380. */
  readonly height?: number | undefined;
  /**
   * `'paper'`: dark ink on a white ground, for a file. `'page'`: no ground, ink
   * of the surrounding text (`currentColor`), for SVG inside HTML. Default 'paper'.
   */
  readonly theme?: 'paper' | 'page' | undefined;
  /** Whether several systems are named below the plot. Default true. */
  readonly legend?: boolean | undefined;
}

/** {@link PlotOptions} with the defaults in place. */
export type CheckedPlotOptions = {
  readonly [Option in keyof PlotOptions]-?: NonNullable<PlotOptions[Option]>;
};

/** Reads and checks plot options. */
export function readPlotOptions(
  functionName: string,
  options: PlotOptions,
): CheckedPlotOptions {
  const {
    title = '',
    theme = 'paper',
    width = 380,
    height = 380,
    legend = true,
  } = readOptions<PlotOptions>(functionName, options, [
    'title',
    'width',
    'height',
    'theme',
    'legend',
  ]);
  if (typeof title !== 'string') {
    throw invalidArgument(functionName, 'title', 'a string', title);
  }
  if (theme !== 'paper' && theme !== 'page') {
    throw invalidArgument(functionName, 'theme', "'paper' or 'page'", theme);
  }
  if (typeof legend !== 'boolean') {
    throw invalidArgument(functionName, 'legend', 'true or false', legend);
  }
  for (const [name, size] of Object.entries({ width, height })) {
    if (typeof size !== 'number' || !(size >= 100 && size <= 4000)) {
      throw invalidArgument(
        functionName,
        name,
        'a number >= 100 and <= 4000',
        size,
      );
    }
  }
  return { title, theme, width, height, legend };
}

/** Draws curves as an SVG string, without a DOM. */
export async function renderCurves(
  plot: CurvePlot,
  options: CheckedPlotOptions,
): Promise<string> {
  // Loaded on first use: half a second that only plots should pay for.
  const [{ compile }, { parse, View }] = await Promise.all([
    import('vega-lite'),
    import('vega'),
  ]);
  const view = new View(parse(compile(plotSpecification(plot, options)).spec), {
    renderer: 'none',
  });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}
