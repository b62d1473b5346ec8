// Runs an ONNX file in onnxruntime on the CPU: node onnx.js MODULES MODEL IMAGES N CHANNELS SIZE, where IMAGES has float32
// values [N, CHANNELS, SIZE, SIZE]. It prints the outputs as JSON, by name: dims, and data in base64.
const [modules, model, images, n, channels, size] = process.argv.slice(2);
const fs = require("fs");
const ort = require(modules + "/node_modules/onnxruntime-node");

(async () => {
  const session = await ort.InferenceSession.create(model, {
    executionProviders: ["cpu"], intraOpNumThreads: 1, interOpNumThreads: 1,
  });
  const bytes = fs.readFileSync(images);
  const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const dims = [n, channels, size, size].map(Number);
  const outputs = await session.run({ images: new ort.Tensor("float32", values, dims) });
  const printed = {};
  for (const [name, tensor] of Object.entries(outputs)) {
    const data = Buffer.from(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength);
    printed[name] = { dims: tensor.dims.map(Number), data: data.toString("base64") };
  }
  console.log(JSON.stringify(printed));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
