// A renamed source file must not live on as a stale module in dist/.
import { rmSync } from 'node:fs';

rmSync('dist', { recursive: true, force: true });
