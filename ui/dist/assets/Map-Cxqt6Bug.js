import{_ as e,c,b as s}from"./index-BUyS2XS4.js";const t={},o={class:"page"};function a(n,r){return s(),c("div",o)}const f=e(t,[["render",a]]);export{f as default};
