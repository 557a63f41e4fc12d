/* Loaded before the command line: writes the most memory the process held to the file that
 * PEAK_MEMORY_FILE names, in bytes. */
import { writeFileSync } from 'node:fs';

process.on('exit', () => {
  const bytes = process.resourceUsage().maxRSS * 1024;
  writeFileSync(process.env.PEAK_MEMORY_FILE, String(bytes));
});
