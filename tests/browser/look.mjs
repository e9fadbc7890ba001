// Opens studies in OHIF as a person would, and writes down what the page shows.
//
// node look.mjs JOBS.json RESULTS.json
//   JOBS     {"chromium": path, "cases": [{"name", "url", "steps": [...]}]}
//   a step   {"open": "words in the series list" | "click": "words of a button",
//             "expect": ["words", ...], "shot": "picture.png"}
//   RESULTS  {"case": {"steps": [{"text", "missing", "boxes"}], "console": [...]}}
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const jobs = JSON.parse(readFileSync(process.argv[2], 'utf8'));
// WebGL by SwiftShader, as OHIF needs it; the page around it is painted without, in half the time.
const flags = [
  '--no-sandbox', '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader',
  '--ignore-gpu-blocklist', '--disable-gpu-compositing', '--disable-gpu-rasterization',
  '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

const PATIENCE_MS = [60_000, 120_000, 120_000];
const SIZE = { width: 1400, height: 900 };

const body = page => page.evaluate(() => document.body.innerText);
const missingIn = (text, wanted) => (wanted ?? []).filter(w => !text.includes(w));

// What is drawn over the image: each outline with its label, and how many pixels are left between
// the end of the label's whole per cent and the edge of the viewport.
const boxes = page => page.evaluate(() =>
  [...document.querySelectorAll('svg.svg-layer polyline')].map(line => {
    const label = line.nextElementSibling;
    const first = label?.querySelector('tspan');
    return {
      points: line.getAttribute('points').trim().split(/[ ,]+/).map(Number),
      label: first?.textContent ?? '',
      room: first ? line.ownerSVGElement.getBoundingClientRect().right
        - first.getBoundingClientRect().left
        - first.getSubStringLength(0, first.textContent.indexOf('.')) : null,
    };
  }));

// OHIF 3.13.2 draws an SR's outlines when its image is drawn next: if the image was there first, that
// is when the window, or the picture in it, moves.
async function nudge(page) {
  await page.setViewportSize({ ...SIZE, height: SIZE.height - 20 });
  await page.waitForTimeout(500);
  await page.setViewportSize(SIZE);
  await page.waitForTimeout(1500);
}

async function settle(page, step, patienceMs) {
  const end = Date.now() + patienceMs;
  let nudged = Date.now();
  let text = await body(page);
  while (missingIn(text, step.expect).length > 0 && Date.now() < end) {
    await page.waitForTimeout(250);
    if (step.open && Date.now() - nudged > 5000) {
      await nudge(page);
      nudged = Date.now();
    }
    text = await body(page);
  }
  return text;
}

async function perform(page, step, patienceMs) {
  if (step.open) {
    await page.waitForLoadState('networkidle');  // a person clicks when the page has come to rest
    const entry = page.getByText(step.open, { exact: false }).first();
    await entry.waitFor({ timeout: 60000 });
    await entry.dblclick();
  }
  if (step.click) await page.getByText(step.click, { exact: true }).first().click();
  const text = await settle(page, step, patienceMs);
  if (step.wait_ms) await page.waitForTimeout(step.wait_ms);
  if (step.shot) await page.screenshot({ path: step.shot });
  return { text, missing: missingIn(text, step.expect), boxes: await boxes(page) };
}

// To the next study by way of the list of studies, as a person goes: to load the viewer anew for each
// takes half as long again. Nothing of the last study is left when the next is asked for.
async function goTo(page, url) {
  const go = where => page.evaluate(to => {
    history.pushState({}, '', to);
    dispatchEvent(new PopStateEvent('popstate', { state: {} }));
  }, where);
  await go('/');
  await page.waitForSelector('svg.svg-layer', { state: 'detached' });
  await page.waitForLoadState('networkidle');
  await go(url);
}

async function look(page, job, patienceMs) {
  const log = [];
  page.removeAllListeners();
  page.on('console', m => m.type() === 'error' && log.push(m.text().slice(0, 300)));
  page.on('pageerror', e => log.push(`pageerror: ${e.message.slice(0, 300)}`));
  const steps = [];
  try {
    if (page.url() === 'about:blank') await page.goto(job.url);
    else await goTo(page, job.url);
    for (const step of job.steps) steps.push(await perform(page, step, patienceMs));
  } catch (e) {
    const text = await body(page).catch(() => '');
    steps.push({ text, missing: [`(the step failed) ${e.message.slice(0, 500)}`], boxes: [] });
  }
  return { steps, console: log };
}

const failed = result => result.steps.some(step => step.missing.length > 0);
const results = {};
const queue = [...jobs.cases];

// A profile on disk: the viewer's programs are fetched and compiled once, not for each study.
async function worker() {
  const profile = mkdtempSync(join(tmpdir(), 'look-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: jobs.chromium, args: flags, viewport: SIZE,
  });
  await context.addInitScript(() =>
    localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour'])));
  let page = await context.newPage();
  for (let job = queue.shift(); job; job = queue.shift()) {
    const tries = job.tries ?? 0;
    results[job.name] = await look(page, job, PATIENCE_MS[tries]);
    if (failed(results[job.name]) && tries + 1 < PATIENCE_MS.length) {
      await page.close();
      page = await context.newPage();
      queue.push({ ...job, tries: tries + 1 });
    }
  }
  await context.close();
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
}

await Promise.all([worker(), worker()]);
writeFileSync(process.argv[3], JSON.stringify(results, null, 1));
