// Calls on the host of functions that are __device__ alone. nvcc does not always say that there is one, and
// what it makes of such a function on the host is exit(1): the process ends without a word.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Of an x86-64 addon that nvcc compiled: [{ caller, callee }], callee 'exit' where it was inlined. */
export async function deviceCallsOnHost(addon) {
  const child = spawn('objdump', ['-dC', '--no-show-raw-insn', addon], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  /** By address: name, and the calls and jumps to other functions. */
  const functions = new Map();
  let current;
  for await (const line of createInterface({ input: child.stdout })) {
    const start = /^0*([\da-f]+) <(.*)>:$/.exec(line);
    if (start) {
      current = { name: start[2], calls: [] };
      functions.set(start[1], current);
    }
    const call = /\t(?:call|jmp) +([\da-f]+) <(.*?)(\+0x[\da-f]+)?>$/.exec(
      line,
    );
    if (call && call[3] === undefined) {
      current.calls.push({ address: call[1], name: call[2] });
    }
  }
  if (functions.size === 0) throw new Error(`objdump: nothing of ${addon}`);
  const ends = ({ calls }) => calls.some(({ name }) => name === 'exit@plt');
  // What nvcc makes of a function is nothing else.
  const isStub = (one) =>
    one !== undefined && one.calls.length === 1 && ends(one);
  return [...functions.values()].flatMap((one) => [
    ...(ends(one) && !isStub(one)
      ? [{ caller: one.name, callee: 'exit' }]
      : []),
    ...one.calls
      .filter(({ address }) => isStub(functions.get(address)))
      .map(({ name }) => ({ caller: one.name, callee: name })),
  ]);
}
