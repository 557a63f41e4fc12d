import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll } from 'vitest';

/** Gives the tests of a file a directory of their own; returns a function that names files in it. */
export function useTemporaryDirectory(): (name: string) => string {
  let directory = '';
  beforeAll(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'alphamargin-test-'));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));
  return (name) => path.join(directory, name);
}
