import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import {
  openEmbeddings,
  readTemplates,
  templateEmbeddings,
} from '../../lib/data/index.js';
import { writeNpy } from '../../lib/io/npy-writer.js';
import {
  readTemplatePairs,
  scoreTrials,
} from '../../lib/verification/index.js';
import { useTemporaryDirectory } from '../io/temporary-directory.js';

const file = useTemporaryDirectory();

async function write(text: string): Promise<string> {
  await writeFile(file('list.txt'), text);
  return file('list.txt');
}

test('templates are read as InsightFace lists them', async () => {
  const text = '1.jpg 1 69544\n2.jpg 1 69544\r\n\n1.jpg 7 3\n3.jpg\t1 12\n';
  expect(await readTemplates(await write(text))).toEqual({
    names: ['1', '7'],
    subjects: undefined,
    images: ['1.jpg', '2.jpg', '1.jpg', '3.jpg'],
    template: Int32Array.of(0, 0, 1, 0),
    media: Int32Array.of(0, 0, 1, 2),
  });
});

test('subjects belong to templates; commas may stand between fields', async () => {
  const text = 'a.png,1,10,ann\nb.png, 2 ,10 , bob\nc.png,1,11,ann\n';
  expect(await readTemplates(await write(text))).toMatchObject({
    names: ['1', '2'],
    subjects: ['ann', 'bob'],
    media: Int32Array.of(0, 0, 1),
  });
});

test.each([
  ['a 1\n', /line 1 of .*'image template medium' but received 'a 1'/],
  ['a 1 2\nb 1 2 ann\n', /line 2 of .*'image template medium'/],
  ['a 1 2 ann\nb 1 2\n', /line 2 of .*'image template medium subject'/],
  ['a 1 2 ann\nb 1 2 bob\n', /of subject 'ann', as template 1 was/],
  ['a,,2\n', /line 1/],
  ['\n\n', /lines 'image template medium' but received 2/],
])('a list of another form is refused: %j', async (text, message) => {
  await expect(readTemplates(await write(text))).rejects.toMatchObject({
    code: 'ERR_INVALID_ARGUMENT',
    message: expect.stringMatching(message),
  });
});

test('pairs have the label last', async () => {
  const pairs = await readTemplatePairs(await write('1 11 1\n1 14 0\n'));
  expect(pairs).toEqual({
    genuine: Uint8Array.of(1, 0),
    enrolment: Int32Array.of(0, 0),
    test: Int32Array.of(1, 2),
    names: ['1', '11', '14'],
  });
  await expect(
    readTemplatePairs(await write('1 11 1\n1 11 2\n')),
  ).rejects.toThrow(
    /^readTemplatePairs: expected line 2 of .*'enrolment test label' with label 0 or 1/,
  );
});

test('a template is the mean of its media, whose pairs are scored', async () => {
  const rows = [
    [1, 0],
    [0, 1],
    [4, 4],
    [2, 6],
  ];
  const data = Float32Array.from(rows.flat());
  await writeNpy(file('x.npy'), { type: 'float32', data, dims: [4, 2] });
  // Template a: a video of two frames and a photograph; b: one image.
  const list = 'f1 a 1\nf2 a 1\np a 2\nq b 1\n';
  const templates = await readTemplates(await write(list));
  await using dataset = await openEmbeddings(file('x.npy'));
  const embeddings = await templateEmbeddings(dataset, templates);
  expect(embeddings.dims).toEqual([2, 2]);
  expect([...embeddings.data]).toEqual([2.25, 2.25, 2, 6]);
  const trials = await readTemplatePairs(await write('a a 1\na b 0\n'));
  const { names } = templates;
  const scores = await scoreTrials(embeddings, { trials, names });
  expect([scores.genuinePairs, scores.impostorPairs]).toEqual([1, 1]);
  const fewer = await readTemplates(await write('f1 a 1\n'));
  await expect(templateEmbeddings(dataset, fewer)).rejects.toMatchObject({
    code: 'ERR_INVALID_ARGUMENT',
    message: expect.stringMatching(/a list of 4 images/),
  });
});
