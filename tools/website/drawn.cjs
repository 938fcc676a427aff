// Draw formulas: a JSON list of [LaTeX, whether it has a line of its own] comes in, one of [SVG, MathML] goes out.
const MathJax = require("mathjax");

function fail(_, error) {
  throw error; // else the formula would be drawn as a red text
}

async function main() {
  await MathJax.init({
    loader: { load: ["input/tex", "output/svg", "a11y/assistive-mml"] },
    tex: { packages: { "[-]": ["noerrors", "noundefined"] }, formatError: fail },
    output: { linebreaks: { inline: false }, displayOverflow: "overflow" },
    svg: { fontCache: "none" },
  });
  const { adaptor } = MathJax.startup;
  const drawn = [];
  for (const [latex, display] of JSON.parse(require("fs").readFileSync(0, "utf8"))) {
    try {
      const made = await MathJax.tex2svgPromise(latex, { display });
      drawn.push(["svg", "math"].map((tag) => adaptor.outerHTML(adaptor.tags(made, tag)[0])));
    } catch (error) {
      process.stderr.write(`${error.message}: ${latex}\n`);
      process.exit(1);
    }
  }
  process.stdout.write(JSON.stringify(drawn));
}

main();
