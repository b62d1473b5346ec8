// Drops an image on the page of worker serve in a real browser: node page.js MODULES CHROMIUM URL IMAGE BROKEN PICTURE. It prints as
// JSON what the page says about the server, about IMAGE, about BROKEN (no image), what it asked for beside the server, and
// its errors; PICTURE is a screenshot.
const [modules, executablePath, url, image, broken, picture] = process.argv.slice(2);
const fs = require("fs");
const { chromium } = require(modules + "/node_modules/playwright-core");

// drop gives the page a file as a user's mouse does.
async function drop(page, name, bytes) {
  const transfer = await page.evaluateHandle(([name, base64]) => {
    const data = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([data], name, { type: "image/png" }));
    return transfer;
  }, [name, bytes.toString("base64")]);
  await page.dispatchEvent("#drop", "drop", { dataTransfer: transfer });
}

(async () => {
  const browser = await chromium.launch({
    executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"],
  });
  try {
    const page = await browser.newPage();
    const said = { errors: [], elsewhere: [] };
    page.on("pageerror", (error) => said.errors.push(String(error)));
    page.on("request", (request) => {
      if (!request.url().startsWith(url) && !/^(blob|data):/.test(request.url())) said.elsewhere.push(request.url());
    });
    await page.goto(url);
    await page.waitForFunction(() => document.querySelector("#about").textContent.includes("features"));
    said.about = await page.textContent("#about");
    await drop(page, "image.png", fs.readFileSync(image));
    await page.waitForSelector("#answer .row");
    said.headings = await page.$$eval("#answer h2", (list) => list.map((h) => h.textContent));
    said.rows = await page.$$eval("#answer .row", (list) => list.map((row) => row.firstChild.textContent));
    said.width = await page.$eval("#seen", async (img) => { await img.decode(); return img.naturalWidth; });
    await page.screenshot({ path: picture, fullPage: true });
    await page.setInputFiles("#file", broken);
    await page.waitForSelector("#answer .error");
    said.error = await page.textContent("#answer .error");
    console.log(JSON.stringify(said));
  } finally {
    await browser.close();
  }
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
