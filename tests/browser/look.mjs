// Opens studies in OHIF as a person would, and writes down what the page says.
//
// node look.mjs JOBS.json RESULTS.json
//   JOBS     {"chromium", "profile", "cases": [{"name", "url", "steps": [...], "shot"}]}
//   a step   {"open": "text in the series list", "expect": ["text", ...], "shot": "PNG"}
//            {"click": "text", "expect": [...]} or {"expect": [...]}
//   RESULTS  {"case name": {"steps": [{"text", "missing": [...]}], "console": [...]}}
import { readFileSync, writeFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

const jobs = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const flags = [
  '--no-sandbox', '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader',
  '--ignore-gpu-blocklist', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

const body = page => page.evaluate(() => document.body.innerText);
const missingIn = (text, wanted) => (wanted ?? []).filter(w => !text.includes(w));

async function settle(page, wanted, seconds) {
  let text = '';
  for (let i = 0; i < seconds * 4; i++) {
    text = await body(page);
    if (missingIn(text, wanted).length === 0) break;
    await page.waitForTimeout(250);
  }
  return text;
}

async function skipTour(page) {
  const skip = page.getByText('Skip all', { exact: true });
  if (await skip.isVisible().catch(() => false)) await skip.click();
}

async function open(page, title) {
  const entry = page.getByText(title, { exact: false }).first();
  await entry.waitFor({ timeout: 60000 });
  await entry.scrollIntoViewIfNeeded();
  await skipTour(page);
  await entry.dblclick();
}

async function perform(page, step) {
  if (step.open) await open(page, step.open);
  if (step.click) await page.getByText(step.click, { exact: true }).first().click();
  await skipTour(page);
  const text = await settle(page, step.expect, step.seconds ?? 30);
  if (step.shot) {
    await page.waitForTimeout(1500); // thumbnails and the last frame
    await page.screenshot({ path: step.shot });
  }
  return { text, missing: missingIn(text, step.expect) };
}

async function look(browser, job) {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 } });
  const page = await context.newPage();
  const log = [];
  page.on('console', m => ['error', 'warning'].includes(m.type()) && log.push(m.text().slice(0, 300)));
  page.on('pageerror', e => log.push(`pageerror: ${e.message.slice(0, 300)}`));
  const steps = [];
  try {
    await page.goto(job.url);
    for (const step of job.steps) steps.push(await perform(page, step));
  } catch (e) {
    steps.push({ text: await body(page).catch(() => ''), missing: [`(step failed) ${e.message}`] });
    if (job.shot) await page.screenshot({ path: job.shot }).catch(() => {});
  }
  await context.close();
  return { steps, console: log };
}

const browser = await chromium.launch({ executablePath: jobs.chromium, args: flags });
const results = {};
for (const job of jobs.cases) {
  results[job.name] = await look(browser, job);
  // About one load in thirty draws no overlay though nothing failed: look once more.
  if (results[job.name].steps.some(s => s.missing.length)) {
    const again = await look(browser, job);
    if (!again.steps.some(s => s.missing.length)) results[job.name] = again;
  }
}
await browser.close();
writeFileSync(process.argv[3], JSON.stringify(results, null, 1));
