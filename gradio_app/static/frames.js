// Gradio's status tracker counts the seconds of what is pending at every frame, and that of the page itself does so for
// ever after the page has come: 6 % of a core for each page that is open. Ten times a second is as much as it shows.
// A classic script: it must run before Gradio's modules keep hold of the function.
(() => {
  const COUNTING_MS = 100;
  const IS_COUNTING = /^\(\)=>\{[^;]{0,40}performance\.now\(\)-/;
  const atNextFrame = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (act) => (IS_COUNTING.test(act) ? setTimeout(act, COUNTING_MS) : atNextFrame(act));
})();
