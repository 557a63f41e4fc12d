// What an addon for macOS needs and shows, from the load commands of the file.
import { readFileSync } from 'node:fs';
import { OLDEST_MACOS } from '../platforms.mjs';

/** The C library, and what Xcode takes of C++: every Mac has them. Zig puts that into the binary. */
const LIBRARIES = /^\/usr\/lib\/lib(System\.B|c\+\+\.1)\.dylib$/;

const COMMANDS = {
  symbols: 0x2,
  library: 0xc,
  weakLibrary: 0x80000018,
  signature: 0x1d,
  searchPath: 0x8000001c,
  version: 0x32,
};
const MACOS = 1;
const ARM64 = 0x0100000c;

/**
 * What Zig's linker always shows: marks of its own, and operator new and delete, which the system
 * replaces by those of the program (they are weak), all of them.
 */
const ALWAYS_SHOWN = /^(_mh_dylib_header|__dso_handle|_Z(n[wa]|d[la])\w+)$/;

/** An addon for macOS on 64 bits. */
export function readMachO(file) {
  const bytes = readFileSync(file);
  const word = (at) => bytes.readUInt32LE(at);
  const text = (at) => bytes.toString('latin1', at, bytes.indexOf(0, at));
  const commands = [];
  for (let i = 0, at = 32; i < word(16); i += 1, at += word(at + 4)) {
    commands.push({ kind: word(at), at });
  }
  const all = (...kinds) =>
    commands
      .filter(({ kind }) => kinds.includes(kind))
      .map((command) => command.at);

  const problems = [];
  const libraries = all(COMMANDS.library, COMMANDS.weakLibrary).map((at) =>
    text(at + word(at + 8)),
  );
  const [version] = all(COMMANDS.version);
  const oldest =
    version !== undefined && word(version + 8) === MACOS
      ? `${word(version + 12) >> 16}.${(word(version + 12) >> 8) & 0xff}`
      : 'unknown';
  if (oldest !== OLDEST_MACOS) {
    problems.push(`needs macOS ${oldest}, not ${OLDEST_MACOS}`);
  }
  if (all(COMMANDS.searchPath).length > 0) {
    problems.push('looks for libraries in folders of its own');
  }
  // Processors of Apple run nothing that is not signed, if only by nobody.
  if (word(4) === ARM64 && all(COMMANDS.signature).length === 0) {
    problems.push('is not signed');
  }

  const [symbols] = all(COMMANDS.symbols);
  const shown = [];
  for (let i = 0; i < word(symbols + 12); i += 1) {
    const entry = word(symbols + 8) + 16 * i;
    const type = bytes[entry + 4];
    const [isExternal, isPrivate] = [(type & 0x01) !== 0, (type & 0x10) !== 0];
    const isUndefined = (type & 0x0e) === 0;
    const name = text(word(symbols + 16) + word(entry)).replace(/^_/, '');
    if (isExternal && !isPrivate && !isUndefined && !ALWAYS_SHOWN.test(name)) {
      shown.push(name);
    }
    // Of the libraries each is bound to, by number; 0xfe is whoever has it: the program, Node.
    const isOfProgram = bytes.readUInt16LE(entry + 6) >> 8 === 0xfe;
    if (isUndefined && isOfProgram && !/^(napi|node_api)_/.test(name)) {
      problems.push(`needs ${name} of the program`);
    }
  }
  return {
    ...{ needs: [`macOS ${oldest}`], shown, libraries, problems },
    allowedLibraries: LIBRARIES,
  };
}
