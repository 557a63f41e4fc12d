// A model file of ONNX, written byte by byte: the smallest stand-in for an embedding extractor.
//
//     embedding = tanh(recording · W)        recording [N, inputs], embedding [N, outputs]
//
// The numbers of the fields are those of onnx.proto.

const FLOAT = 1;

/** A whole number in base 128, lowest digits first. */
function varint(value) {
  const digits = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...digits, rest]);
    digits.push((rest % 128) | 128);
  }
}

/** A field that holds a whole number. */
const whole = (field, value) =>
  Buffer.concat([varint(field * 8), varint(value)]);

/** A field that holds text, bytes, or a message made of fields. */
function block(field, ...parts) {
  const content = Buffer.concat(parts.map((part) => Buffer.from(part)));
  return Buffer.concat([
    varint(field * 8 + 2),
    varint(content.length),
    content,
  ]);
}

/** ValueInfoProto: a float tensor [N, width], N of any size. */
function value(field, name, width) {
  const shape = block(2, block(1, block(2, 'N')), block(1, whole(1, width)));
  const type = block(2, block(1, whole(1, FLOAT), shape));
  return block(field, block(1, name), type);
}

/** NodeProto. */
const node = (operation, inputs, output) =>
  block(
    1,
    ...inputs.map((name) => block(1, name)),
    block(2, output),
    block(4, operation),
  );

/**
 * Bytes of the model.
 *
 * @param weights W, inputs × outputs, row-major.
 */
export function encodeModel(weights, inputs, outputs) {
  const bytes = new Uint8Array(
    weights.buffer,
    weights.byteOffset,
    weights.byteLength,
  );
  const graph = [
    node('MatMul', ['recording', 'W'], 'product'),
    node('Tanh', ['product'], 'embedding'),
    block(2, 'extractor'),
    block(
      5,
      whole(1, inputs),
      whole(1, outputs),
      whole(2, FLOAT),
      block(8, 'W'),
      block(9, bytes),
    ),
    value(11, 'recording', inputs),
    value(12, 'embedding', outputs),
  ];
  const operators = block(8, whole(2, 17));
  return Buffer.concat([whole(1, 8), operators, block(7, ...graph)]);
}
