// The platforms a release has binaries for, and what builds each of them here.
import { AARCH64_STRIP, aarch64Tools } from './aarch64.mjs';
import { zigSettings } from './zig.mjs';

export const OLDEST_MACOS = '12.0';

const linux = { platform: 'linux', libc: 'glibc' };
const musl = { platform: 'linux', libc: 'musl' };
const darwin = {
  platform: 'darwin',
  settings: { CMAKE_OSX_DEPLOYMENT_TARGET: OLDEST_MACOS },
};

/**
 * `settings`: what CMake is told to build it there; `cross`: to build it elsewhere; `strip`: what strips it
 * then, unless the linker did.
 */
const PLATFORMS = {
  'linux-x64': { ...linux, arch: 'x64' },
  'linux-arm64': {
    ...{ ...linux, arch: 'arm64' },
    cross: () => aarch64Tools().settings,
    strip: AARCH64_STRIP,
  },
  'linux-x64-musl': {
    ...{ ...musl, arch: 'x64' },
    cross: () => zigSettings('x86_64-linux-musl', 'Linux'),
  },
  'linux-arm64-musl': {
    ...{ ...musl, arch: 'arm64' },
    cross: () => zigSettings('aarch64-linux-musl', 'Linux'),
  },
  'darwin-x64': {
    ...{ ...darwin, arch: 'x64' },
    cross: () => zigSettings(`x86_64-macos.${OLDEST_MACOS}`, 'Darwin'),
  },
  'darwin-arm64': {
    ...{ ...darwin, arch: 'arm64' },
    cross: () => zigSettings(`aarch64-macos.${OLDEST_MACOS}`, 'Darwin'),
  },
  'win32-x64': {
    ...{ platform: 'win32', arch: 'x64' },
    cross: () => zigSettings('x86_64-windows-gnu', 'Windows'),
  },
};

export const PLATFORM_NAMES = Object.keys(PLATFORMS);

/** Whether this process runs on musl. */
const isMusl =
  process.platform === 'linux' &&
  process.report.getReport().header.glibcVersionRuntime === undefined;

/** The name of the platform this process runs on. */
export const ownPlatform = `${process.platform}-${process.arch}${isMusl ? '-musl' : ''}`;

/** A platform by its name, with the file of its binary under prebuilds/. */
export function platformOf(name) {
  const found = PLATFORMS[name];
  if (found === undefined) {
    throw new Error(
      `--platform: expected ${PLATFORM_NAMES.join(', ')}, not ${name}`,
    );
  }
  const { platform, arch, libc } = found;
  const tags = libc === undefined ? '' : `.${libc}`;
  return {
    ...found,
    name,
    isOwn: name === ownPlatform,
    file: `${platform}-${arch}/alphamargin${tags}.node`,
  };
}
