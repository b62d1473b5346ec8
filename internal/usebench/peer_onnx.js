// Times an ONNX file in onnxruntime: each line of input is a batch and a number of times.
const [modules, file, threads] = process.argv.slice(1);
const ort = require(modules + "/node_modules/onnxruntime-node");
const lines = require("readline").createInterface({ input: process.stdin });

(async () => {
  const session = await ort.InferenceSession.create(file, {
    executionProviders: ["cpu"], intraOpNumThreads: Number(threads), interOpNumThreads: 1,
  });
  for await (const line of lines) {
    const [batch, times] = line.split(" ").map(Number);
    const images = new ort.Tensor("float32", Float32Array.from({ length: batch * 3 * 224 * 224 }, () => Math.random()),
      [batch, 3, 224, 224]);
    const seconds = [];
    for (let i = 0; i < times; i++) {
      const start = process.hrtime.bigint(), busy = process.cpuUsage();
      await session.run({ images });
      const { user, system } = process.cpuUsage(busy);
      seconds.push([Number(process.hrtime.bigint() - start) / 1e9, (user + system) / 1e6]);
    }
    console.log(JSON.stringify(seconds));
  }
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
