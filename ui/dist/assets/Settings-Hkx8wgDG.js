import{_ as e,o as c,c as t}from"./_plugin-vue_export-helper-COJPhe2r.js";const s={},o={class:"page"};function n(r,_){return c(),t("div",o)}const f=e(s,[["render",n]]);export{f as default};
