// Runs command lines one after the other in this process: a start of Node takes longer than to find what
// is wrong with one. Standard input: JSON [main, [argument, …][]]; standard output: what each left behind.
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';

const [main, lines] = JSON.parse(await text(process.stdin));
const results = [];
let result;
const streams = ['stdout', 'stderr'];
const written = streams.map((name) => process[name].write);
for (const name of streams) {
  process[name].write = (chunk) => {
    result[name] += chunk;
    return true;
  };
}
for (const [i, args] of lines.entries()) {
  result = { code: 0, stdout: '', stderr: '' };
  process.argv = [process.argv[0], main, ...args];
  // Its modules are loaded once, the program itself every time.
  await import(`${pathToFileURL(main)}?${i}`);
  results.push({ ...result, code: process.exitCode ?? 0 });
}
streams.forEach((name, i) => {
  process[name].write = written[i];
});
process.exitCode = 0;
console.log(JSON.stringify(results));
