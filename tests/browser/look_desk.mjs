// Opens pages of the desk as people would, and writes down what the browser and axe-core say of them.
//
// node look_desk.mjs JOBS.json RESULTS.json
//   JOBS     {"chromium": path, "base": url, "axe": path, "cases": [{"name", "path", "cookie", "width",
//             "dark", "scripts", "shot", "language", "print", "open"}]}
//   RESULTS  {"case": {"status", "violations", "console", "elsewhere", "overflow", "text", "title"}}
import { readFileSync, writeFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

const jobs = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const axe = readFileSync(jobs.axe, 'utf8');
const flags = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

async function look(browser, job) {
  const context = await browser.newContext({
    viewport: { width: job.width ?? 1280, height: 900 },
    colorScheme: job.dark ? 'dark' : 'light',
    javaScriptEnabled: true,
    locale: job.language ?? 'en-GB',
    bypassCSP: job.scripts !== false,  // for axe-core alone; the policy itself is tried without it
  });
  if (job.cookie) await context.addCookies([{ ...job.cookie, url: jobs.base }]);
  const page = await context.newPage();
  const log = [], elsewhere = [];
  page.on('console', m => ['error', 'warning'].includes(m.type()) && log.push(m.text().slice(0, 300)));
  page.on('pageerror', e => log.push(`pageerror: ${e.message.slice(0, 300)}`));
  page.on('request', r => r.url().startsWith(jobs.base) || r.url().startsWith('data:')
    || elsewhere.push(r.url()));
  const found = { violations: [], console: log, elsewhere };
  const answer = await page.goto(jobs.base + job.path);
  found.status = answer.status();
  if (job.open) await page.evaluate(() => document.querySelectorAll('details').forEach(d => { d.open = true; }));
  if (job.print) await page.emulateMedia({ media: 'print' });
  found.title = await page.title();
  found.text = await page.evaluate(() => document.body.innerText);
  found.overflow = await page.evaluate(() =>
    document.documentElement.scrollWidth - document.documentElement.clientWidth);
  found.scripts = await page.evaluate(() => document.querySelectorAll(
    'script, [onclick], [onerror], [onload], [style], style, iframe, object, embed').length);
  if (job.scripts !== false) {
    await page.evaluate(axe);
    const result = await page.evaluate(() => axe.run(document, {
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    }));
    found.violations = result.violations.map(v =>
      `${v.id}: ${v.help} ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 120)).join(' | ')}`);
  }
  if (job.shot) await page.screenshot({ path: job.shot, fullPage: job.full ?? true });
  await context.close();
  return found;
}

const results = {};
const browser = await chromium.launch({ executablePath: jobs.chromium, args: flags });
for (const job of jobs.cases) results[job.name] = await look(browser, job);
await browser.close();
writeFileSync(process.argv[3], JSON.stringify(results, null, 1));
