// Two training steps with the installed package; prints what test-package.mjs compares.
const { createHash } = require('node:crypto');
const { mkdtempSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const path = require('node:path');

/** The rows of a file in the order of a plan, as `alphamargin/data` reads them. */
async function rowsFromFile({ writeNpy }, data, embeddings, labels) {
  const folder = mkdtempSync(path.join(tmpdir(), 'alphamargin-rows-'));
  try {
    const file = path.join(folder, 'embeddings.npy');
    await writeNpy(file, embeddings);
    const dataset = await data.openEmbeddings(file);
    const plan = data.shuffled({ rows: dataset.count, batch: 5, seed: 3 });
    const rows = [];
    for await (const batch of data.embeddingBatches(dataset, labels, plan)) {
      rows.push(...batch.rows);
    }
    await dataset.close();
    return rows;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

module.exports = async function trainingStep(alphamargin, verification, data) {
  const { backendInfo, PrototypeHead, qMargin, sgd, tensor } = alphamargin;
  const [identities, dim, batch] = [500, 48, 16];
  const head = new PrototypeHead({
    ...{ identities, dim, device: 'cpu', seed: 7 },
    loss: qMargin({ alpha: 1.25, scale: 16, margin: 0.2 }),
    optimizer: sgd({ learningRate: 0.5, momentum: 0.9 }),
  });
  const embeddings = tensor(
    Float32Array.from({ length: batch * dim }, (_, i) => Math.sin(i * i)),
    [batch, dim],
  );
  const labels = Int32Array.from({ length: batch }, (_, i) => i * 31);
  const first = await head.step(embeddings, labels);
  const second = await head.step(embeddings, labels);
  head.dispose();
  const gradient = second.gradEmbeddings.data;
  const scores = await verification.scoreTrials(embeddings, {
    labels: labels.map((label) => label % 2),
  });
  const rows = await rowsFromFile(alphamargin, data, embeddings, labels);
  const info = backendInfo();
  const { sharedObjects } = process.report.getReport();
  console.log(
    JSON.stringify({
      first: first.loss,
      second: second.loss,
      gradient: createHash('sha256').update(gradient).digest('hex'),
      eer: verification.eer(scores).rate,
      rows: rows.join(),
      cuda: info.cuda.built,
      emulation: info.emulation,
      addons: sharedObjects.filter((file) => file.endsWith('.node')),
    }),
  );
};
