/** Rows of equal size that lie in files; what an {@link EmbeddingDataset} is made of. */
export interface RowSource {
  /** Number of rows. */
  readonly count: number;
  /** Numbers in a row. */
  readonly dim: number;
  /** [count], where the format names its rows. */
  readonly names: readonly string[] | undefined;
  /**
   * Copies row `rows[i]` to the place `slots[i]` of `target` (rows of `dim` numbers), in whatever
   * order the files are best read.
   */
  copyRows(
    rows: Int32Array,
    slots: Int32Array,
    target: Float32Array,
  ): Promise<void>;
  /** Closes the files. */
  close(): Promise<void>;
}
