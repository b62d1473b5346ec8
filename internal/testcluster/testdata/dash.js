// Follows a run on the page of a coordinator in a real browser: node dash.js MODULES CHROMIUM URL TOKEN REPORT [FOLDER]. It
// prints a line of JSON for each thing that it has seen, and reads lines from standard input that let it go on: the test
// kills the leader in between. REPORT is a report of coordinator chaos. FOLDER gets the docs' pictures.
const [modules, executablePath, url, token, report, folder] = process.argv.slice(2);
const { chromium } = require(modules + "/node_modules/playwright-core");
const { Buffer } = require("buffer");

const tell = (what) => console.log(JSON.stringify(what));
const input = require("readline").createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const patience = 240_000; // milliseconds

// until waits until a function of the page returns something.
const until = (page, f, arg) => page.waitForFunction(f, arg, { timeout: patience, polling: 100 });

// painted counts the colours of a canvas: an empty one has one.
const painted = (page, selector) => page.$eval(selector, (canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return new Set(new Uint32Array(data.buffer)).size;
});

// pictures takes those of the docs, late in the run.
async function pictures(page) {
  await until(page, () => { const [, step, , total] = document.querySelector("#figures dd").textContent.match(/(\d+)( of )(\d+)/); return step > 0.8 * total; });
  await page.setViewportSize({ width: 1280, height: 1680 });
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.mouse.move(0, 0);
    await page.evaluate(() => { document.activeElement.blur(); scrollTo(0, 0); return new Promise((done) => setTimeout(done, 1000)); });
    await page.screenshot({ path: `${folder}/dash-${scheme}.png` });
  }
}

const charts = ["#chart-loss canvas", "#chart-information canvas", "#chart-throughput canvas", "#chart-other canvas", "#joint", "#prior"];

(async () => {
  const browser = await chromium.launch({
    executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"],
  });
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, colorScheme: "light" });
    page.setDefaultTimeout(patience);
    const errors = [], elsewhere = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    page.on("console", (m) => { if (/Content Security Policy/.test(m.text())) errors.push(m.text()); });
    page.on("request", (request) => {
      if (!request.url().startsWith(url) && !/^(blob|data):/.test(request.url())) elsewhere.push(request.url());
    });

    // Without a token it shows nothing; with a wrong one it says so.
    await page.goto(url);
    await page.waitForSelector("#token:focus");
    await page.keyboard.type("a wrong token".replaceAll(" ", "-"));
    await page.keyboard.press("Enter");
    await until(page, () => document.querySelector("#refused").textContent);
    tell({ refused: await page.textContent("#refused"), shown: await page.isVisible("#cluster") });
    await page.keyboard.type(token);
    await page.keyboard.press("Enter");

    // It draws, while the run goes on.
    await until(page, () => /^\d+ of/.test(document.querySelector("#figures dd")?.textContent ?? "") && parseInt(document.querySelector("#figures dd").textContent) >= 3);
    await page.waitForSelector("#chart-loss canvas");
    await page.waitForSelector("#distributions:not([hidden])");
    const colours = {};
    for (const c of charts) colours[c] = await painted(page, c);
    await until(page, () => / leads/.test(document.querySelector("#link").textContent));
    const leader = (await page.textContent("#link")).match(/(\S+) leads/)[1];
    tell({
      colours, link: await page.textContent("#link"), workers: await page.$$eval("#workers tbody th", (l) => l.map((e) => e.textContent)),
      lanes: await page.$$eval("#lanes li", (l) => l.length), events: await page.$$eval("#events li", (l) => l.length),
      label: await page.getAttribute("#chart-loss canvas", "aria-label"),
    });

    // Another leader.
    await input.next();
    await until(page, (before) => /^Live/.test(document.querySelector("#link").textContent) && !document.querySelector("#link").textContent.includes(before + " leads"), leader);
    tell({ before: leader, link: await page.textContent("#link") });

    // By keyboard: the matrix, the help, the theme, the audit.
    await page.focus("#joint");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowRight");
    const cell = await page.textContent("#cell");
    await page.keyboard.press("?");
    const help = await page.isVisible("#help");
    await page.keyboard.press("Escape");
    const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
    const themes = [await theme()];
    for (let i = 0; i < 3; i++) { await page.keyboard.press("t"); themes.push(await theme()); }
    await page.focus("#audit");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#audit-result .good");
    await page.focus("#draw");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#views:not([hidden])");
    const views = await page.$eval("#views", async (img) => { await img.decode(); return img.naturalWidth; });
    const transfer = await page.evaluateHandle((text) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([text], "report.json", { type: "application/json" }));
      return transfer;
    }, report);
    await page.dispatchEvent("#drop", "drop", { dataTransfer: transfer });
    await page.waitForSelector("#chaos-result dd");
    const chaos = await page.$$eval("#chaos-result dd", (l) => l.map((e) => e.textContent));
    await page.setInputFiles("#file", { name: "other.json", mimeType: "application/json", buffer: Buffer.from("{}") });
    await until(page, () => document.querySelector("#chaos-error").textContent);
    tell({
      cell, help, themes, views, chaos, wrong: await page.textContent("#chaos-error"), audit: await page.$$eval("#audit-result dd", (l) => l.map((e) => e.textContent)),
      bare: await page.$$eval("button, input, select, canvas[role], [role=region]", (l) => l.filter((e) => !(e.textContent.trim() ||
        e.labels?.length || e.getAttribute("aria-label") || e.getAttribute("aria-labelledby"))).map((e) => e.id || e.outerHTML)),
    });

    if (folder) await pictures(page);

    // To the end of the run.
    await until(page, () => document.querySelector("#phase").textContent === "finished");
    await until(page, () => document.querySelectorAll("#checkpoints tbody tr").length > 0);
    const steps = await page.evaluate(async () => {
      const headers = { Authorization: "Bearer " + sessionStorage.getItem("pupil-token") };
      const run = encodeURIComponent(document.querySelector("#run-name").textContent);
      return (await (await fetch(`/v1/runs/${run}/series`, { headers })).json()).series.steps;
    });
    await until(page, (last) => document.querySelector("#chart-loss canvas").getAttribute("aria-label").endsWith("step " + last), steps.at(-1));

    // Narrow screens do not scroll sideways.
    const widths = [];
    for (const width of [320, 768, 1280]) {
      await page.setViewportSize({ width, height: 900 });
      await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
      widths.push([width, await page.evaluate(() => document.documentElement.scrollWidth)]);
    }
    tell({ steps, widths, title: await page.title(), errors, elsewhere });
    input.return?.();
    process.stdin.destroy();
  } finally {
    await browser.close();
  }
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
