// The AsyncAPI Initiative's own parser, on the document whose path is given. Prints one line for each
// diagnostic; fails if one of them is an error. `python -m docs` runs it.
const fs = require('node:fs');
const { Parser } = require('@asyncapi/parser');

const SEVERITIES = ['error', 'warning', 'information', 'hint'];

async function main(path) {
  const { document, diagnostics } = await new Parser().parse(fs.readFileSync(path, 'utf8'));
  for (const { severity, code, message, path: where } of diagnostics) {
    console.log(`${SEVERITIES[severity]} ${code} at ${where.join('.') || '/'}: ${message}`);
  }
  process.exit(document === undefined || diagnostics.some(({ severity }) => severity === 0) ? 1 : 0);
}

main(process.argv[2]);
